import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rlvr_placebo.analysis.arms import gains
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import read_jsonl
from rlvr_placebo.core.rundir import RunDirectory, locked
from rlvr_placebo.study import nursery
from rlvr_placebo.study.local import Launch, run_study
from rlvr_placebo.study.matrix import load_study
from rlvr_placebo.text.problems import load_problems

STUDY = """
models = ["pocket/code-prior"]
rewards = ["ground_truth", "random(0.5)"]
seeds = [1, 2]
[settings]
steps = 2
problems = 4
"rollout.samples" = 4
"evaluation.samples" = 1
"evaluation.max_tokens" = 60
benchmarks = ["{benchmark}"]
"""


@pytest.fixture
def study_file(tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(
        json.dumps({"problem": p.question, "answer": p.golds[0], "cluster": p.cluster}) + "\n"
        for p in load_problems("pocket-500")[:30]
    ))  # fmt: skip
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(benchmark=few))
    return path


def test_the_matrix_is_complete(study_file):
    study = load_study(study_file)
    assert len(study.runs) == 4
    assert {(c.reward if isinstance(c.reward, str) else "random", c.seed)
            for c in study.runs.values()} == {
        ("ground_truth", 1), ("ground_truth", 2), ("random", 1), ("random", 2)
    }  # fmt: skip
    assert all(c.steps == 2 and c.rollout.problems == 4 for c in study.runs.values())
    assert load_study(study_file).runs.keys() == study.runs.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds = [1, 2]", 'seeds = ["1"]'), "'seeds' must be a list of whole numbers"),
        (("seeds = [1, 2]", "seeds = []"), "not empty"),
        (('rewards = ["ground', 'rewards = ["grund'), "did you mean 'ground_truth'"),
        (("models = [", "modles = ["), "unknown entry 'modles'; did you mean 'models'"),
        (("steps = 2", "stpes = 2"), "unknown setting 'stpes'"),
        (("steps = 2", 'steps = "2"'), "a whole number is wanted"),
        (("steps = 2", "steps = -2"), "must lie in"),
        (("[settings]", "[settings"), "not TOML"),
        (("[settings]", "settings = 3\n[other]"), "unknown entry 'other'"),
        (("seeds = [1, 2]", "seeds = [1, 1]"), "asked for twice"),
        (("steps = 2", "steps = 2\nseed = 5"), "the study itself gives it"),
        (("steps = 2", "kl = 1\n'loss.kl' = 2\nsteps = 2"), "loss.kl is given twice"),
        (("seeds = [1, 2]", "seeds = [1]\nrecipe = [1]"), "'recipe' must be a name"),
        (("seeds = [1, 2]", "seeds = [1]\nvariants = [1]"), "'variants' must be a table"),
        (("[settings]", "[settings]\ntemperatures = [0, 'a']"), "a list of numbers is wanted"),
    ],
)
def test_mistakes_name_the_entry(study_file, change, message):
    study_file.write_text(study_file.read_text().replace(*change))
    with pytest.raises(PlaceboError, match=message) as caught:
        load_study(study_file)
    assert "study.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_and_composed_rewards_are_plain_toml(study_file):
    study_file.write_text(
        'models = ["m"]\nrewards = [{ all = ["format", "python"] }, "format"]\nseeds = [1]\n'
        "[settings]\nrollout.samples = 5\n[settings.optimizer]\nminibatches = 2\n"
    )
    one, two = load_study(study_file).runs.values()
    assert one.reward == {"all": ["format", "python"]}
    assert two.rollout.samples == 5
    assert two.optimizer.minibatches == 2


def test_variants_change_settings(study_file):
    study_file.write_text(
        study_file.read_text() + '\n[variants.plain]\n[variants.unclipped]\nclip_high = "off"\n'
    )
    runs = load_study(study_file).runs
    assert len(runs) == 8
    assert {c.loss.clip_high for c in runs.values() if c.variant == "unclipped"} == {None}


def test_a_study_runs_shares_its_baseline_and_goes_on(study_file, tmp_path):
    study = load_study(study_file)
    reports = []
    runs = run_study(study, Launch(tmp_path / "s", 2, pause=0.1), reports.append)
    assert all(r.finished and r.damaged_files() == [] for r in runs)
    assert reports[-1].steps_done == reports[-1].steps == 8
    assert reports[-1].runs_done == 4
    assert len(list((tmp_path / "s/shared").glob("*.parquet"))) == 1
    entries = gains(runs)
    assert [(e["reward"], e["temperature"], e["n"], e["seeds"]) for e in entries] == [
        ("ground_truth", 0.0, 30, [1, 2]), ("ground_truth", 1.0, 30, [1, 2]),
        ("random(0.5)", 0.0, 30, [1, 2]), ("random(0.5)", 1.0, 30, [1, 2]),
    ]  # fmt: skip
    for e in entries:
        assert e["final"] - e["base"] == pytest.approx(e["gain"])
        assert sum(e["gain_by_seed"]) / 2 == pytest.approx(e["gain"])
        assert "seeds" in e["error_contains"]
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "s/runs").rglob("*") if p.is_file()}
    run_study(study, Launch(tmp_path / "s", 2, pause=0.1), reports.append)  # nothing left to do
    again = {p: p.stat().st_mtime_ns for p in (tmp_path / "s/runs").rglob("*") if p.is_file()}
    assert again == finished


def test_a_folder_of_somebody_else_is_left_alone(study_file, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "summary.json").write_text("mine")
    study = load_study(study_file)
    with pytest.raises(PlaceboError, match="in use"):
        run_study(study, Launch(mine, 1))
    assert (mine / "summary.json").read_text() == "mine"
    assert len(list(mine.iterdir())) == 1
    with pytest.raises(PlaceboError, match="is a file"):
        run_study(study, Launch(study_file, 1))


def test_finished_runs_of_other_content_are_not_taken_over(study_file, tmp_path):
    text = study_file.read_text().replace('"ground_truth", ', "").replace("[1, 2]", "[1]")
    study_file.write_text(text)
    out = tmp_path / "s"
    (run,) = run_study(load_study(study_file), Launch(out, 1, pause=0.1))
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(few.read_text().splitlines()[:20]))
    with pytest.raises(PlaceboError, match="contracts differ"):
        run_study(load_study(study_file), Launch(out, 1))
    again = run_study(load_study(study_file), Launch(tmp_path / "t", 1, pause=0.1))
    with pytest.raises(PlaceboError, match="cannot be compared"):
        gains([run, *again])


def test_an_orphaned_worker_stops_at_once(tmp_path):
    """Its launcher is gone already when it starts."""
    command = [sys.executable, "-m", "rlvr_placebo.study.worker", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "the launcher has gone" in done.stderr


def test_a_missing_model_is_named_before_any_run_starts(study_file, tmp_path):
    study_file.write_text(study_file.read_text().replace("pocket/code-prior", "nowhere"))
    with pytest.raises(PlaceboError, match="unknown model"):
        run_study(load_study(study_file), Launch(tmp_path / "s", 1, pause=0.1))
    assert not (tmp_path / "s/runs").exists()


def test_a_study_that_was_refused_can_be_mended_in_place(study_file, tmp_path):
    text = study_file.read_text().replace("[1, 2]", "[1]").replace('"ground_truth", ', "")
    study_file.write_text(text.replace("pocket/code-prior", "nowhere"))
    with pytest.raises(PlaceboError, match="unknown model"):
        run_study(load_study(study_file), Launch(tmp_path / "s", 1, pause=0.1))
    study_file.write_text(text)
    assert len(run_study(load_study(study_file), Launch(tmp_path / "s", 1, pause=0.1))) == 1


def test_a_worker_that_does_not_start_is_told(study_file, tmp_path, monkeypatch):
    monkeypatch.setattr(nursery.sys, "executable", "/bin/false")
    with pytest.raises(PlaceboError, match="its worker does not start"):
        run_study(load_study(study_file), Launch(tmp_path / "s", 1, pause=0.1))


def test_a_failed_worker_is_named(study_file, tmp_path):
    study = load_study(study_file)
    name = next(iter(study.runs))
    blocked = tmp_path / "s/runs" / name
    (tmp_path / "s").mkdir()
    (tmp_path / "s/study.json").write_text(
        '{"schema": 2, "name": "study", "description": "", "store": ".", "runs": []}'
    )
    blocked.mkdir(parents=True)
    (blocked / "mine.txt").write_text("mine")
    with pytest.raises(PlaceboError, match=f"run {name} failed: .*mine|not a run directory"):
        run_study(study, Launch(tmp_path / "s", 1, pause=0.1))
    assert (blocked / "mine.txt").read_text() == "mine"


def test_a_damaged_baseline_is_measured_again(study_file, tmp_path):
    text = study_file.read_text().replace('"ground_truth", ', "").replace("[1, 2]", "[1]")
    study_file.write_text(text)
    (one,) = run_study(load_study(study_file), Launch(tmp_path / "s", 1, pause=0.1))
    (shared,) = (tmp_path / "s/shared").glob("*.parquet")
    whole = shared.read_bytes()
    shared.write_bytes(whole[:100])
    shutil.rmtree(one.path)
    run_study(load_study(study_file), Launch(tmp_path / "s", 1, pause=0.1))
    assert shared.read_bytes() == whole


def test_killed_whole_it_goes_on(study_file, tmp_path):
    text = study_file.read_text().replace("steps = 2", "steps = 6")
    study_file.write_text(text.replace("seeds = [1, 2]", "seeds = [1]"))
    out = tmp_path / "s"
    command = [sys.executable, "-m", "rlvr_placebo", "study", "run", str(study_file), "--out",
               str(out)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob("runs/*/rollouts/step-000002.parquet")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)  # the launcher only: its workers must notice
    process.wait()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "ground_truth" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert {a["reward"] for a in summary["arms"]} == {"ground_truth", "random(0.5)"}
    study = load_study(study_file)
    alone = run_study(study, Launch(tmp_path / "alone", 2, pause=0.1))
    for run in alone:
        twin = RunDirectory(out / "runs" / run.path.name)
        assert twin.read_json("result.json") == run.read_json("result.json")


def test_a_second_study_does_not_repeat_what_it_shares(study_file, tmp_path):
    first = run_study(load_study(study_file), Launch(tmp_path / "one", pause=0.1))
    touched = {p: p.stat().st_mtime_ns for r in first for p in r.path.rglob("*") if p.is_file()}
    wider = study_file.with_name("wider.toml")
    text = study_file.read_text().replace('"random(0.5)"]', '"random(0.5)", "format"]')
    wider.write_text(text.replace("[1, 2]", "[1]"))
    reports = []
    launch = Launch(tmp_path / "two", store=tmp_path / "one", pause=0.1)
    runs = run_study(load_study(wider), launch, reports.append)
    assert len(runs) == 3
    assert [r.path.parent.resolve() for r in runs] == [(tmp_path / "one/runs").resolve()] * 3
    assert reports[0].runs_done == 2
    assert {p: p.stat().st_mtime_ns for p in touched} == touched
    assert len(StudyFolder.open(tmp_path / "two").finished_runs()) == 3
    assert len(StudyFolder.open(tmp_path / "one").finished_runs()) == 4
    assert not (tmp_path / "two/runs").exists()
    # the same study again finds its store by itself, and no other one
    run_study(load_study(wider), Launch(tmp_path / "two", pause=0.1))
    assert not (tmp_path / "two/runs").exists()
    with pytest.raises(PlaceboError, match="leave out --store"):
        run_study(load_study(wider), Launch(tmp_path / "two", store=tmp_path / "three"))


def children_of(parent, command):
    """Processes that ``parent`` has started and whose command line holds ``command``."""
    found = subprocess.run(["pgrep", "-P", str(parent), "-f", command],
                           capture_output=True, text=True, check=False)  # fmt: skip
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.parametrize("whole", [False, True])  # one run, or the process that forks them
def test_a_killed_worker_is_started_again(study_file, tmp_path, whole):
    text = study_file.read_text().replace("steps = 2", "steps = 12")
    study_file.write_text(text.replace('"ground_truth", ', "").replace("[1, 2]", "[1]"))
    killed = []

    def kill_once(progress):
        if not killed and progress.steps_done >= 2:
            (nursery,) = children_of(os.getpid(), "study.worker")
            killed.extend([nursery] if whole else children_of(nursery, "study.worker"))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    study = load_study(study_file)
    (run,) = run_study(study, Launch(tmp_path / "s", 1, pause=0.05), kill_once)
    assert len(killed) == 1
    (twin,) = run_study(study, Launch(tmp_path / "t", 1, pause=0.1))
    assert run.read_json("result.json") == twin.read_json("result.json")
    steps = [r["step"] for r in read_jsonl(run.path / "timings.jsonl") if "generation" in r]
    assert len(steps) <= 13  # at most one step was done twice


def test_status_and_plan(study_file, tmp_path, capsys):
    out = tmp_path / "s"
    assert main(["study", "plan", str(study_file), "--no-measure"]) == 0
    assert "4 runs to do; time unknown" in capsys.readouterr().out
    assert main(["study", "plan", str(study_file), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["runs"], line["done"], line["steps"], line["completions"]) == (4, 0, 8, 128)
    assert line["cost"]["source"] == "measured"
    assert line["seconds"] > 8 * line["cost"]["step"] > 0
    assert main(["study", "run", str(study_file), "--out", str(out)]) == 0
    assert (out / "report.html").exists()
    shutil.rmtree(next((out / "runs").glob("*random*s2*")))
    capsys.readouterr()
    assert main(["study", "status", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3 of 4 runs finished" in said
    assert "waiting" in said
    assert main(["study", "status", str(out), "--json"]) == 0
    states = [run["state"] for run in json.loads(capsys.readouterr().out)]
    assert sorted(states) == ["finished"] * 3 + ["waiting"]
    assert main(["study", "plan", str(study_file), "--store", str(out), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["done"], line["steps"], line["cost"]["source"]) == (3, 2, "runs")
    assert main(["study", "status", str(tmp_path)]) == 2
    assert main(["report", str(tmp_path)]) == 2


def test_a_running_run_is_seen(study_file, tmp_path):
    study = load_study(study_file)
    out = tmp_path / "s"
    run_study(study, Launch(out, pause=0.1))
    folder = StudyFolder.open(out)
    run = folder.run(folder.names[0])
    (run.path / "result.json").unlink()
    assert folder.status()[0].state == "stopped"
    with locked(run.path):
        assert folder.status()[0].state == "running"


def test_rewards_bring_their_own_pool(study_file):
    text = study_file.read_text().replace('"random(0.5)"', '"ttrl", "one_shot"')
    study_file.write_text(text.replace("[settings]", '[settings]\npool = "pocket-train@64"'))
    configs = list(load_study(study_file).runs.values())
    assert {c.pool for c in configs if c.reward == "ttrl"} == {"benchmark"}
    assert {c.pool_size for c in configs if c.reward == "one_shot"} == {1}
    assert {c.pool for c in configs if c.reward != "ttrl"} == {"pocket-train@64"}


def test_training_on_the_test_problems_is_marked_everywhere(study_file, tmp_path, capsys):
    text = study_file.read_text().replace('"ground_truth", "random(0.5)"', '"ttrl", "format"')
    study_file.write_text(text.replace("[1, 2]", "[1]"))
    out = tmp_path / "s"
    assert main(["study", "run", str(study_file), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "ttrl †" in said.out
    assert "trained on the test problems themselves" in said.out
    assert "trains on the test problems of" in said.err
    marks = {a["reward"]: a["trains_on_test"] for a in
             json.loads((out / "summary.json").read_text())["arms"]}  # fmt: skip
    assert marks == {"ttrl": True, "format": False}
    page = (out / "report.html").read_text()
    assert "ttrl †" in page
    assert "format †" not in page
    (run,) = (r for r in StudyFolder.open(out).finished_runs() if "ttrl" in r.path.name)
    assert run.config["trains_on_test"] == run.config["evaluation"]["benchmarks"]


def test_a_variant_may_have_a_prompt_of_its_own(study_file, tmp_path, capsys):
    text = study_file.read_text().replace('"ground_truth", ', "").replace("[1, 2]", "[1]")
    study_file.write_text(text + '[variants.plain]\n[variants.asked]\ntemplate = "boxed"\n')
    out = tmp_path / "s"
    assert main(["study", "run", str(study_file), "--out", str(out)]) == 0
    arms = json.loads((out / "summary.json").read_text())["arms"]
    assert {(a["variant"], a["template"]) for a in arms} == {("plain", "plain"), ("asked", "boxed")}
    assert "(prompt: boxed)" in (out / "report.html").read_text()


def test_a_variant_cannot_change_how_is_measured(study_file):
    study_file.write_text(
        study_file.read_text() + "[variants.plain]\n[variants.other]\n'evaluation.samples' = 2\n"
    )
    with pytest.raises(PlaceboError, match=r"variants differ in evaluation\.samples"):
        load_study(study_file)


def test_another_study_does_not_take_over_a_folder(study_file, tmp_path):
    out = tmp_path / "s"
    study = load_study(study_file)
    run_study(study, Launch(out, pause=0.1))
    before = (out / "study.json").read_text()
    other = study_file.with_name("other.toml")
    other.write_text(study_file.read_text())
    with pytest.raises(PlaceboError, match="holds the study 'study', not 'other'"):
        run_study(load_study(other), Launch(out))
    study_file.write_text(study_file.read_text().replace("pocket/code-prior", "pocket/nowhere"))
    with pytest.raises(PlaceboError, match="unknown model"):
        run_study(load_study(study_file), Launch(out))
    assert (out / "study.json").read_text() == before


def test_runs_and_strangers_are_no_stores(study_file, tmp_path):
    study = load_study(study_file)
    (run, *_) = run_study(study, Launch(tmp_path / "s", pause=0.1))
    for store, message in (
        (run.path, "in use, and not by studies"),
        (run.path / "deep/er", "lies inside the run"),
        (study_file, "is a file"),
    ):
        with pytest.raises(PlaceboError, match=message):
            run_study(study, Launch(tmp_path / "t", store=store))
    assert run.damaged_files() == []
    assert main(["labels", "build", "--model", "pocket/code-prior", "--out",
                 str(run.path / "labels")]) == 2  # fmt: skip
    assert run.damaged_files() == []


def test_what_cannot_fit_is_told_before_any_run(study_file, tmp_path):
    text = study_file.read_text()
    study_file.write_text(text + "[variants.a]\n[variants.b]\nrollout.max_tokens = 5000\n")
    with pytest.raises(PlaceboError, match="2048 positions"):
        run_study(load_study(study_file), Launch(tmp_path / "s"))
    assert not (tmp_path / "s/runs").exists()


def test_a_mended_reward_is_another_run(study_file, tmp_path):
    mine = tmp_path / "mine_to_mend.py"
    mine.write_text("def f(rollout):\n    raise ValueError('first mistake')\n")
    text = study_file.read_text().replace('"random(0.5)"', f'"{mine}:f"')
    study_file.write_text(text.replace("[1, 2]", "[1]"))
    command = [sys.executable, "-m", "rlvr_placebo", "study", "run", str(study_file), "--out",
               str(tmp_path / "s"), "--workers", "1"]  # fmt: skip
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert "ValueError: first mistake" in failed.stderr
    mine.write_text("def f(rollout):\n    return 1.0\n")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
