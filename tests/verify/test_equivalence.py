"""The table of pairs, golds against themselves, and hostile answers: statuses, time, memory."""

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from adversarial import KINDS, adversarial
from pairs import DIFFERENT, KNOWN_FAILURES, SAME

from rlvr_placebo.core.records import Status
from rlvr_placebo.verify.equivalence import compare, unsolved
from rlvr_placebo.verify.judge import equivalent, judge, verify
from rlvr_placebo.verify.solver import Solver

DATA = Path(__file__).parents[3] / "shared" / "data"
BROKEN_GOLDS = 2  # of DeepScaleR: their braces do not balance


def flat(table):
    return [(c, *pair) for c, pairs in table.items() for pair in pairs]


@pytest.mark.parametrize(("category", "gold", "answer"), flat(SAME))
def test_the_same(category, gold, answer):
    assert equivalent(gold, answer) is True


@pytest.mark.parametrize(("category", "gold", "answer"), flat(DIFFERENT))
def test_different(category, gold, answer):
    assert equivalent(gold, answer) is False


@pytest.mark.parametrize(("gold", "answer", "right"), KNOWN_FAILURES)
def test_known_failures_are_those_of_the_documentation(gold, answer, right):
    """One that is mended leaves the list, and the page."""
    assert equivalent(gold, answer) is not right
    page = Path(__file__).parents[2] / "docs" / "verifier.md"
    assert f"`{gold}`" in page.read_text().replace("\\\\", "\\")


def test_the_table_is_large_enough():
    assert len(flat(SAME)) + len(flat(DIFFERENT)) >= 300


@pytest.mark.parametrize(
    "name",
    ["math500.jsonl", "amc.jsonl", "aime2024.jsonl", "aime2025.jsonl", "deepscaler.jsonl.gz"],
)
def test_every_gold_is_right_against_itself(name):
    if not (DATA / name).exists():
        pytest.skip("the benchmarks are not beside the project")
    with (gzip.open if name.endswith("gz") else open)(DATA / name, "rt") as stream:
        golds = [str(json.loads(line)["answer"]) for line in stream]
    found = [(gold, verify(rf"So \boxed{{{gold}}}", [gold])) for gold in golds]
    failed = {gold: v.status for gold, v in found if v.correct is not True}
    assert all(gold.count("{") != gold.count("}") for gold in failed), failed
    assert len(failed) == (BROKEN_GOLDS if name.startswith("deepscaler") else 0)
    assert {judge(gold, gold).status for gold in failed} <= {Status.BAD_GOLD}


@pytest.fixture(scope="module")
def solver():
    made = Solver(seconds=0.5)
    yield made
    made.close()


@pytest.mark.timeout(280)
def test_hostile_answers_end(solver):
    """500 of them (20,000 in benchmarks/): a status for each, and no memory to speak of."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statuses = set()
    for gold, answer in adversarial(500):
        finding = compare(gold, answer, solver)
        assert (finding.correct is None) == (finding.status is not Status.OK)
        assert finding.correct is not True
        statuses.add(finding.status)
    assert statuses <= {Status.OK, Status.TIMEOUT, Status.ERROR}
    assert Status.TIMEOUT in statuses
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    assert len(KINDS) >= 40


def test_hostile_completions_have_a_status():
    for gold, answer in adversarial(len(KINDS)):
        if len(answer) > 5000:  # no algebra is asked for
            found = verify(rf"\boxed{{{answer}}}", [gold])
            assert found.correct is False


def test_a_question_without_an_end_is_given_up(solver):
    for _ in range(3):  # the worker is killed, and there again
        finding = solver("7", "5^{(5^{(5^{(5^{5})})}-4)} + 1")
        assert (finding.correct, finding.status) == (None, Status.TIMEOUT)
        assert solver(r"\sqrt{8}", r"2\sqrt{2}").correct is True


def test_a_worker_that_dies_costs_one_question():
    solver = Solver(seconds=20)
    assert solver("x+1", "1+x").correct is True
    solver._process.kill()  # not its child: the one who would replace it
    solver._process.wait()
    assert solver("x+2", "2+x").correct is True
    solver.close()
    assert solver("x+3", "3+x").correct is True  # closed, it starts again
    solver.close()


def test_memory_is_bounded():
    hungry = "import rlvr_placebo.verify.worker as w; w._limit_memory(); bytearray(3 << 30)"
    ended = subprocess.run([sys.executable, "-c", hungry], capture_output=True, text=True)
    assert "MemoryError" in ended.stderr


def test_a_child_that_dies_is_asked_again_once():
    solver = Solver(seconds=60)
    assert solver("x+1", "1+x").correct is True
    os.kill(solver._child, signal.SIGKILL)  # idle: no question is lost, none is mixed up
    time.sleep(0.2)
    assert [solver("x+3", f"{k}+x").correct for k in (3, 4, 3)] == [True, False, True]
    assert [solver("x+5", f"{k}+x").correct for k in (4, 5)] == [False, True]
    killer = threading.Timer(0.3, lambda: os.kill(solver._child, signal.SIGKILL))
    killer.start()  # in the middle of one that takes a second or two
    assert solver("(x+y+z+1)^{14}", "(x+y+z+1)^{14}+1").correct is False
    over = threading.Event()

    def kill():
        while not over.wait(1.0):
            os.kill(solver._child, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    finding = solver("7", "5^{(5^{(5^{(5^{5})})}-4)} + 2")
    over.set()
    killing.join()
    assert (finding.correct, finding.status) == (None, Status.ERROR)
    assert solver("x+2", "2+x").correct is True
    solver.close()


def test_an_interrupted_question_does_not_shift_the_next_ones():
    solver = Solver(seconds=60)
    assert solver("x+1", "1+x").correct is True

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        solver("7", "5^{(5^{(5^{(5^{5})})}-4)} + 3")
    signal.signal(signal.SIGALRM, before)
    assert [solver("x+5", f"{k}+x").correct for k in (4, 5, 6, 5)] == [False, True, False, True]
    solver.close()


def test_the_limit_is_of_an_item_not_of_its_parts():
    tower = "5^{(5^{(5^{(5^{5})})}-4)}"
    solver = Solver(seconds=1.0)
    started = time.monotonic()
    answer = ",".join(f"{tower}+{i}" for i in range(6))
    golds = r"\sqrt{2},\sqrt{3},\sqrt{5},\sqrt{6},\sqrt{7},\sqrt{8}"
    finding = compare(golds, answer, solver.item())
    assert (finding.correct, finding.status) == (None, Status.TIMEOUT)
    assert time.monotonic() - started < 30
    solver.close()


def test_a_forked_process_has_a_worker_of_its_own():
    solver = Solver(seconds=60)
    assert solver("x+1", "1+x").correct is True
    solver._lock.acquire()  # as another thread may hold it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
        pid = os.fork()
    if pid == 0:
        os._exit(0 if solver("x+2", "2+x").correct else 1)
    solver._lock.release()
    assert os.waitpid(pid, 0)[1] == 0
    assert solver("x+3", "3+x").correct is True
    solver.close()


ORPHAN = """
import os, threading
from rlvr_placebo.verify.solver import Solver
solver = Solver(seconds=60)
solver("x+1", "1+x")
print(solver._process.pid, solver._child, flush=True)
threading.Timer(0.5, lambda: os.kill(os.getpid(), 9)).start()
solver("7", "5^{(5^{(5^{(5^{5})})}-4)}")
"""


def test_no_worker_outlives_its_process():
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE) as process:
        pids = [int(p) for p in process.stdout.readline().split()]
        process.wait()
    for pid in pids:
        os.kill(pid, 0)  # the child still computes, its parent waits for it
    os.kill(pids[1], signal.SIGKILL)
    until = time.monotonic() + 20
    while time.monotonic() < until and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_it_works_from_threads():
    found = {}

    def ask(index):
        found[index] = [equivalent(f"x+{index}", f"{k}+x") for k in range(6)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: [k == i for k in range(6)] for i in range(6)}


def test_answers_are_remembered(solver):
    solver("x+7", "7+x")
    asked = solver.asked
    for _ in range(5):
        solver("x+7", "7+x")
    assert solver.asked == asked


def test_without_a_solver_what_needs_algebra_is_unknown():
    assert compare("x+1", "1+x", unsolved).correct is None
    assert compare("1/2", "0.5", unsolved).correct is True
    assert compare("(1, x+1)", "(2, 1+x)", unsolved).correct is False  # one part is enough
    assert compare("(1, x+1)", "(1, 1+x)", unsolved).correct is None
