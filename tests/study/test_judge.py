"""`placebo judge` from end to end, as small as it can be; its protocol; its mistakes."""

import json

import jsonschema
import pytest

from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.analysis.protocol import read_protocol
from rlvr_placebo.analysis.verdict import SCHEMA_FILE
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import SCHEMA
from rlvr_placebo.study.judge import Request, check_arms, plan
from rlvr_placebo.study.local import Launch, run_study
from rlvr_placebo.study.matrix import make_study
from rlvr_placebo.text.problems import load_problems

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
    ],
)
def test_mistakes_are_found_before_anything_runs(changes, line):
    request = {"models": ("pocket/code-prior",), "rewards": ("ground_truth",), **changes}
    with pytest.raises(PlaceboError, match=line):
        plan(Request(**request))


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


def test_a_reward_that_always_fails_is_a_mistake_and_no_finding(tmp_path):
    runs = [
        {"name": f"{reward}-s{seed}", "model": "m", "reward": reward, "variant": "plain",
         "seed": seed, "steps": 1}
        for reward in ("mine", "format") for seed in (1, 2)
    ]  # fmt: skip
    document = {"schema": SCHEMA, "name": "", "description": "", "store": ".", "runs": runs}
    some = {"mine-s1": "out of memory"}
    write_json(tmp_path / "study.json", document | {"crashed": some})
    check_arms(StudyFolder.open(tmp_path))
    write_json(tmp_path / "study.json", document | {"crashed": some | {"mine-s2": "of mine"}})
    with pytest.raises(PlaceboError, match="every run of mine failed; mine-s1: out of memory"):
        check_arms(StudyFolder.open(tmp_path))


def test_a_run_that_fails_does_not_stop_the_others_where_asked(few, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def never(rollout):\n    raise ValueError('of mine')\n")
    study = make_study(
        {"models": ["pocket/code-prior"], "rewards": [f"{mine}:never", "format"], "seeds": [1],
         "settings": {"steps": 1, "rollout.problems": 2, "rollout.samples": 4,
                      "evaluation.max_tokens": 20,
                      "evaluation.benchmarks": [str(few / "given.jsonl")]}},
        "some",
    )  # fmt: skip
    runs = run_study(study, Launch(tmp_path / "out", go_on=True, pause=0.05))
    assert [run.config["reward_name"] for run in runs] == ["format"]
    (reason,) = StudyFolder.open(tmp_path / "out").document["crashed"].values()
    assert "of mine" in reason
