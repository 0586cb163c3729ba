"""`placebo judge` from end to end, as small as it can be; its protocol; its mistakes."""

import json
import shutil

import jsonschema
import pytest

from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.study.judge import write_protocol
from rlvr_placebo.study.local import Launch, run_study
from rlvr_placebo.study.matrix import make_study
from rlvr_placebo.study.request import Request, plan
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.verdict.judge import SCHEMA_FILE
from rlvr_placebo.verdict.protocol import read_protocol

SMALL = ("steps=1", "rollout.problems=2", "rollout.samples=4", "evaluation.max_tokens=60",
         "pool=pocket-train@30", "labels.samples=4")  # fmt: skip


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Three small problem sets of their own."""
    folder = tmp_path_factory.mktemp("problems")
    for name, start in (("given", 0), ("fresh", 20), ("dev", 40)):
        lines = (
            json.dumps({"problem": p.question, "answer": p.golds[0], "cluster": p.cluster}) + "\n"
            for p in load_problems("pocket-500")[start : start + 12]
        )
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return folder


def command(few, out, *more):
    sets = [word for setting in SMALL for word in ("--set", setting)]
    return ["judge", "--model", "pocket/code-prior", "--reward", "ground_truth", "--seeds", "5",
            "--benchmark", str(few / "given.jsonl"), "--fresh", str(few / "fresh.jsonl"),
            "--development", str(few / "dev.jsonl"), "--prompts", "plain", "boxed",
            "--coverage", "4", "--out", str(out), *sets, *more]  # fmt: skip


@pytest.fixture(scope="module")
def judged(few, tmp_path_factory):
    out = tmp_path_factory.mktemp("judged") / "out"
    assert main(command(few, out)) == 0
    return out


def test_it_trains_the_reward_beside_its_controls_and_judges(judged):
    document = json.loads((judged / "verdict.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    (entry,) = document["verdicts"]
    assert entry["category"] != "invalid", entry["because"]
    assert {c["control"] for c in entry["controls"]} == {
        "shuffle", "format", "permuted_gold", "majority_vote", "prompt", "prompt at T = 1"
    }  # fmt: skip
    assert entry["coverage"]["by"] == "pass@4"
    assert document["protocol"]["before"] is True
    assert document["protocol_hash"] == read_protocol(judged).hash
    assert len(document["protocol"]["runs"]) == 25


def test_the_same_command_does_nothing_again(few, judged, capsys):
    files = {p: p.stat().st_mtime_ns for p in (judged / "runs").rglob("*") if p.is_file()}
    files |= {p: p.stat().st_mtime_ns for p in (judged / "prompts").rglob("*") if p.is_file()}
    before = (judged / "verdict.json").read_bytes()
    assert main(command(few, judged, "--json")) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(before)
    assert (judged / "verdict.json").read_bytes() == before
    assert all(path.stat().st_mtime_ns == when for path, when in files.items())
    assert main(["verdict", str(judged), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(before)


def test_another_protocol_needs_another_folder(few, judged, capsys):
    assert main(command(few, judged, "--delta", "5")) == 2
    assert "delta differ" in capsys.readouterr().err


def test_a_folder_in_use_is_left_alone(few, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(command(few, tmp_path)) == 2
    assert "in use" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seeds": 3}, "takes 5 at least"),
        ({"delta": 0.0}, "above 0 and below 100"),
        ({"rewards": ("ttrl",)}, "trains on the test problems"),
        ({"rewards": ("grond_truth",)}, "unknown reward"),
        ({"models": ()}, "at least one model"),
        ({"given": "pocket-50"}, "pocket-50"),
        ({"prompts": ("plan",)}, "unknown template 'plan'"),
        ({"settings": (("evaluation.samples", 4),)}, "at least 8"),
        ({"settings": (("evaluation.benchmarks", ["amc"]),)}, "named by --benchmark"),
        ({"fresh": "pocket-500"}, "named twice"),
        ({"development": "pocket-500"}, "500 of its problems stand in pocket-500 too"),
        ({"development": ""}, "no control C0"),
        ({"prompts": ("plain", "plain")}, "--prompt: one is named twice"),
        ({"rewards": ("random", "random(0.5)")}, "--reward: one is named twice"),
        ({"seeds": 100_000}, "at most 1000"),
        ({"coverage": -1}, "0 to 10000"),
        ({"settings": (("pool", "pocket-500"),)}, "stand in the training pool too"),
    ],
)
def test_mistakes_are_found_before_anything_runs(changes, line):
    request = {"models": ("pocket/code-prior",), "rewards": ("ground_truth",), **changes}
    with pytest.raises(PlaceboError, match=line):
        plan(Request(**request))


def test_one_cluster_is_found_before_anything_runs(few, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text((few / "given.jsonl").read_text().splitlines()[0] + "\n")
    with pytest.raises(PlaceboError, match="too few clusters"):
        plan(Request(("pocket/code-prior",), ("format",), given=str(path)))


def test_a_protocol_by_which_nothing_was_run_may_be_changed(few, tmp_path, capsys):
    words = command(few, tmp_path / "out")
    words[words.index("pocket/code-prior")] = "pocket/code-prio"
    assert main(words) == 2
    assert "code-prio" in capsys.readouterr().err
    study, protocol = plan(Request(("pocket/code-prior",), ("format",)))
    del study
    write_protocol(protocol, tmp_path / "out")
    assert read_protocol(tmp_path / "out").hash == protocol.hash


def test_a_folder_inside_a_study_is_refused(few, judged, capsys):
    assert main(command(few, judged / "inside")) == 2
    assert "lies inside the study" in capsys.readouterr().err


def test_what_is_lost_or_changed_is_no_evidence(judged, tmp_path, capsys):
    for what, line in (
        ("runs/*-ground_truth-plain-s1-*/evaluations/step-000001.parquet", "damaged"),
        ("runs/*-format-plain-s1-*/metrics.jsonl", "damaged"),
        ("prompts/base-*/result.json", "prompts: not finished"),
        ("coverage/base-*/result.json", "coverage: not finished"),
        ("runs/*-format-plain-s2-*/result.json", "1 runs are not finished"),
    ):
        copy = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(judged, copy)
        (path,) = copy.glob(what)
        path.unlink()
        before = (copy / "verdict.json").read_bytes()
        assert main(["verdict", str(copy)]) == 2
        said = capsys.readouterr().err
        assert line in said
        assert said.count("\n") == 1
        assert (copy / "verdict.json").read_bytes() == before


def test_controls_of_several_rewards_are_shared():
    study, protocol = plan(
        Request(("pocket/code-prior",), ("random(0.5)", "format", "majority_vote"), seeds=5)
    )
    rewards = {config.reward if isinstance(config.reward, str) else next(iter(config.reward))
               for config in study.runs.values()}  # fmt: skip
    assert rewards == {"random", "format", "majority_vote", "permuted_gold", "shuffle"}
    assert len(study.runs) == 7 * 5
    assert protocol.informed == ()
    assert protocol.controls["format"]["format"] == "format"


def test_what_a_reward_brings_itself_its_controls_have_too():
    study, _ = plan(Request(("pocket/code-prior",), ("one_shot",), seeds=5))
    assert {config.pool_size for config in study.runs.values()} == {1}


def test_problems_that_incorrect_labels_need_are_those_of_every_arm():
    study, _ = plan(Request(("pocket/code-prior",), ("incorrect(2)",), seeds=5))
    assert {config.labels.wrong_answers for config in study.runs.values()} == {2}


def some(few, tmp_path, seeds):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "def seldom(group, rng):\n"
        "    if group.rollouts[0].completion.seed % 2:\n        raise ValueError('of mine')\n"
        "    return [1.0] * len(group.rollouts)\n"
        "def never(rollout):\n    raise ValueError('of mine')\n"
    )
    return {"models": ["pocket/code-prior"], "seeds": seeds,
            "settings": {"steps": 1, "rollout.problems": 2, "rollout.samples": 4,
                         "evaluation.max_tokens": 20,
                         "evaluation.benchmarks": [str(few / "given.jsonl")]}}, mine  # fmt: skip


def test_a_run_that_fails_does_not_stop_the_others_where_asked(few, tmp_path):
    document, mine = some(few, tmp_path, [1, 2, 3, 4, 5, 6])
    study = make_study(document | {"rewards": [f"{mine}:seldom"]}, "some")
    runs = run_study(study, Launch(tmp_path / "out", go_on=True, pause=0.05))
    crashed = StudyFolder.open(tmp_path / "out").document["crashed"]
    assert len(runs) + len(crashed) == 6
    assert runs
    assert all("of mine" in reason for reason in crashed.values())


def test_a_reward_that_always_fails_is_a_mistake_and_no_finding(few, tmp_path):
    document, mine = some(few, tmp_path, [1, 2])
    study = make_study(document | {"rewards": [f"{mine}:never", "format"]}, "some")
    with pytest.raises(PlaceboError, match=r"every run of .*mine.py:never failed; .*of mine"):
        run_study(study, Launch(tmp_path / "out", go_on=True, pause=0.05))
