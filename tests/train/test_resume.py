"""The same bytes, whatever happened on the way: repeated, killed anywhere, resumed."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.rundir import open_run
from rlvr_placebo.text.problems import load_problems

UNCHECKED = {"timings.jsonl", "environment.json"}

RUN = """
import os, signal, sys, warnings
import torch
torch.set_num_threads(1)
from pathlib import Path
from rlvr_placebo.learner import learner
from rlvr_placebo.model import checkpoint
from rlvr_placebo.core import rundir
from rlvr_placebo.rollout import native
from rlvr_placebo.train import loop, state
from rlvr_placebo.train.settings import make_config, parse_settings

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_at_call(owner, name, number, before=lambda *args: None):
    original, calls = getattr(owner, name), [0]
    def wrapped(*args, **kwargs):
        calls[0] += 1
        if calls[0] == number:
            before(*args)
            die()
        return original(*args, **kwargs)
    setattr(owner, name, wrapped)

def half_a_file(tensors, path, **_):
    Path(path).write_bytes(b"half")

def half_a_state(path, data):
    path.with_name("." + path.name + ".partial").write_bytes(b"half")

def die_after_the_result():
    original = rundir.write_json
    def wrapped(path, value):
        original(path, value)
        if path.name == "result.json":
            die()
    rundir.write_json = wrapped

KILLS = {
    "": lambda: None,
    "generation": lambda: die_at_call(native, "draw", 260),
    "between updates late": lambda: die_at_call(learner.Learner, "update", 6),
    "between updates": lambda: die_at_call(learner.Learner, "update", 4),
    "checkpoint": lambda: die_at_call(checkpoint, "save_file", 2, half_a_file),
    "state": lambda: die_at_call(state, "write_atomic", 3, half_a_state),
    "evaluation": lambda: die_at_call(loop, "evaluate_after", 2),
    "first evaluation": lambda: die_at_call(native, "draw", 5),
    "metrics": lambda: die_at_call(rundir.RunDirectory, "append", 5),
    "result": lambda: die_at_call(rundir.RunDirectory, "finish", 1),
    "after the result": die_after_the_result,
}
out, benchmark, kill, reward = sys.argv[1:5]
KILLS[kill]()
settings = parse_settings([
    "steps=4", "problems=4", "rollout.samples=4", "minibatches=2", "checkpoint_every=2",
    "evaluation.every=2", "evaluation.samples=1", "evaluation.max_tokens=60",
    "learning_rate=1e-3", "seed=3", "kl=0.01", "benchmarks=" + benchmark, *sys.argv[5:],
])
loop.run(make_config("pocket/code-prior", reward, "pocket", settings), Path(out), resume=True)
"""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    path = tmp_path_factory.mktemp("problems") / "few.jsonl"
    rows = [
        {"problem": p.question, "answer": p.golds[0], "cluster": p.cluster}
        for p in load_problems("pocket-500")[:12]
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def start(out: Path, benchmark: Path, kill="", reward="ground_truth", *more: str) -> int:
    command = [sys.executable, "-c", RUN, str(out), str(benchmark), kill, reward, *more]
    return subprocess.run(command, check=False, capture_output=True, timeout=120).returncode


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    names = {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}
    return {n: b for n, b in names.items() if n not in UNCHECKED}


@pytest.fixture(scope="module")
def uninterrupted(benchmark, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert start(out, benchmark) == 0
    return out


def test_the_run_is_whole(uninterrupted):
    run = open_run(uninterrupted)
    assert run.finished
    assert run.damaged_files() == []
    assert [r["step"] for r in run.metrics("step")] == [1, 2, 3, 4]
    assert [r["step"] for r in run.metrics("evaluation")] == [0, 2, 4]
    assert run.read_json("result.json")["final_checkpoint"] == "checkpoints/checkpoint-4"
    names = set(contents(uninterrupted))
    assert {"config.json", "metrics.jsonl", "result.json", "rollouts/step-000003.parquet",
            "evaluations/step-000000.parquet", "checkpoints/checkpoint-2/model.safetensors",
            "checkpoints/checkpoint-4/tokenizer.json"} <= names  # fmt: skip
    assert "state.safetensors" not in names


def test_the_same_command_twice_writes_the_same_bytes(uninterrupted, benchmark, tmp_path):
    assert start(tmp_path / "again", benchmark) == 0
    assert contents(tmp_path / "again") == contents(uninterrupted)


def test_another_reward_does_not(uninterrupted, benchmark, tmp_path):
    """The comparison above can fail: another reward gives other weights."""
    assert start(tmp_path / "other", benchmark, reward="format") == 0
    other, one = contents(tmp_path / "other"), contents(uninterrupted)
    assert other.keys() == one.keys()
    weights = "checkpoints/checkpoint-4/model.safetensors"
    assert other[weights] != one[weights]


@pytest.mark.parametrize(
    "kill",
    ["generation", "between updates", "checkpoint", "state", "evaluation", "first evaluation",
     "metrics", "result", "after the result"],
)  # fmt: skip
def test_killed_and_resumed_is_uninterrupted(uninterrupted, benchmark, tmp_path, kill):
    out = tmp_path / "run"
    assert start(out, benchmark, kill) == -signal.SIGKILL
    assert (out / "result.json").exists() == (kill == "after the result")
    assert start(out, benchmark) == 0
    assert contents(out) == contents(uninterrupted)


def the_same_when_killed(benchmark, folder, *more):
    """A run with these settings; killed and resumed it is the same."""
    one, other = folder / "one", folder / "other"
    assert start(one, benchmark, "", "ground_truth", *more) == 0
    killed = start(other, benchmark, "between updates late", "ground_truth", *more)
    assert killed == -signal.SIGKILL
    assert start(other, benchmark, "", "ground_truth", *more) == 0
    assert contents(one) == contents(other)
    return one


def test_adapters_killed_and_resumed_are_uninterrupted(uninterrupted, benchmark, tmp_path):
    one = the_same_when_killed(benchmark, tmp_path, "lora.rank=4")
    step = "checkpoints/checkpoint-4"
    assert not (one / step / "model.safetensors").exists()
    whole = (uninterrupted / step / "model.safetensors").stat().st_size
    assert (one / step / "adapter_model.safetensors").stat().st_size < whole / 2
    first, last = ((one / f"evaluations/step-{step:06d}.parquet").read_bytes() for step in (0, 4))
    assert first != last
    assert open_run(one).config["lora"] == {"rank": 4, "alpha": 32.0}
    assert "lora" not in open_run(uninterrupted).config


def test_bf16_killed_and_resumed_is_uninterrupted(uninterrupted, benchmark, tmp_path):
    one = the_same_when_killed(benchmark, tmp_path, "precision=bfloat16")
    (contract,) = open_run(one).config["contracts"]
    assert contract["dtype"] == "bfloat16"
    assert contract["measurement"] != open_run(uninterrupted).config["contracts"][0]["measurement"]
    mismatch = [r["mismatch/max_logprob_difference"] for r in open_run(one).metrics("step")]
    assert max(mismatch) > 1e-3  # rounding, which float32 does not have


def test_a_finished_run_is_left_alone(uninterrupted, benchmark):
    before = {p: p.stat().st_mtime_ns for p in uninterrupted.rglob("*") if p.is_file()}
    assert start(uninterrupted, benchmark) == 0
    assert {p: p.stat().st_mtime_ns for p in uninterrupted.rglob("*") if p.is_file()} == before


def interrupted(benchmark, out):
    """A run killed in its third step, after a checkpoint and an evaluation."""
    assert start(out, benchmark, "between updates late") == -signal.SIGKILL
    assert (out / "checkpoints/checkpoint-2").is_dir()


HOLES = {
    "rollouts/step-000001.parquet": None,
    "evaluations/step-000000.parquet": b"broken",
    "checkpoints/checkpoint-2/model.safetensors": None,
    "metrics.jsonl": b"",
    "config.json": b"{}",
    "state.safetensors": b"broken",
}


@pytest.mark.parametrize("name", HOLES)
def test_a_damaged_run_is_not_resumed(benchmark, tmp_path, name):
    out = tmp_path / "run"
    interrupted(benchmark, out)
    path = out / name
    path.unlink() if HOLES[name] is None else path.write_bytes(HOLES[name])
    assert start(out, benchmark) == 1  # an uncaught PlaceboError of the script above
    assert not (out / "result.json").exists()


def test_a_flipped_byte_of_the_state_is_seen(benchmark, tmp_path):
    out = tmp_path / "run"
    interrupted(benchmark, out)
    data = bytearray((out / "state.safetensors").read_bytes())
    data[-5] ^= 1
    (out / "state.safetensors").write_bytes(data)
    assert start(out, benchmark) == 1


def test_a_finished_run_that_was_changed_is_refused(uninterrupted, benchmark, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(uninterrupted, out)
    (out / "evaluations/step-000004.parquet").write_bytes(
        (out / "evaluations/step-000000.parquet").read_bytes()
    )
    with pytest.raises(PlaceboError, match=r"damaged: evaluations/step-000004\.parquet"):
        open_run(out).must_be_whole()
    assert start(out, benchmark) == 1


def test_a_linked_folder_is_refused(benchmark, tmp_path):
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    interrupted(benchmark, out)
    (elsewhere / "checkpoint-50").mkdir(parents=True)
    shutil.rmtree(out / "checkpoints")
    (out / "checkpoints").symlink_to(elsewhere)
    assert start(out, benchmark) == 1
    assert (elsewhere / "checkpoint-50").is_dir()
