"""The verdict on studies as they lie on disk: whole, broken, and in every way incomplete."""

import json
import shutil

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakes import BASE, CONTROLS, MODEL, FakeStudy
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.verdict.evidence import base_name
from rlvr_placebo.verdict.judge import SCHEMA_FILE
from rlvr_placebo.verdict.protocol import Protocol


def judged(folder, capsys, *more):
    ends = [] if "--benchmark" in more else ["--fresh", "fresh"]
    status = main(["verdict", str(folder), "--reward", "ground_truth", *ends, *more, "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    document = json.loads(said.out)
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    assert json.loads((folder / "verdict.json").read_text(encoding="utf-8")) == document
    (entry,) = document["verdicts"]
    return entry


def test_a_whole_study(whole, capsys):
    entry = judged(whole.write(), capsys)
    assert entry["category"] == "genuine"
    assert entry["gain"]["value"] == pytest.approx(40, abs=8)
    assert entry["gain"]["interval90"][0] > 30
    assert {c["control"] for c in entry["controls"]} == {
        "shuffle", "format", "permuted_gold", "majority_vote", "prompt", "prompt at T = 1"
    }  # fmt: skip
    assert entry["reward_quality"]["within"]["value"] == pytest.approx(1)
    assert [r["arm"] for r in entry["ladder"]["steps"]] == [
        "base", "shuffle", "format", "majority_vote", "reward"
    ]  # fmt: skip
    ladder = entry["ladder"]["steps"]
    steps = sum(r["step"]["value"] for r in ladder[1:])
    assert steps == pytest.approx(ladder[-1]["accuracy"] - ladder[0]["accuracy"])
    assert len(entry["greedy"]) == 10
    assert entry["switching"][1]["control"] is not None
    assert entry["coverage"] is None
    assert entry["base_majority"]["samples"] == 8


def test_it_is_told_at_80_columns_without_a_terminal(whole, capsys):
    words = ["verdict", str(whole.write()), "--reward", "ground_truth", "--fresh", "fresh"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "ground_truth on pocket/fake: GENUINE (exploratory" in said
    assert "named after the runs" in said
    lines = said.splitlines()
    start = next(i for i, line in enumerate(lines) if "interval" in line)
    assert max(map(len, lines[start : start + 20])) <= 80


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda s: s.runs.__setitem__(slice(None), [r for r in s.runs if r[1] != "format"]),
         "controls are missing: C2 format"),
        (lambda s: s.runs.__setitem__(slice(None), [r for r in s.runs if r[2] < 5]),
         "seeds: 5 wanted, 4 there"),
        (lambda s: s.runs.__setitem__(slice(None), [r for r in s.runs if r[2] == 1]),
         "seeds: 5 wanted, 1 there"),
        (lambda s: shutil.rmtree(s.path / "prompts"), "controls are missing: C0 prompt"),
    ],
)  # fmt: skip
def test_what_is_missing_makes_it_invalid(whole, capsys, spoil, line):
    spoil(whole)
    entry = judged(whole.write(), capsys)
    assert entry["category"] == "invalid"
    assert line in entry["because"]
    assert entry["gain"] is None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trains_on_test": ["given"]}, "given: the training pool overlaps it"),
        ({"model_digest": "other"}, "contracts differ"),
        ({"flat": 1.0}, "constant in every group"),
    ],
)
def test_what_does_not_fit_makes_it_invalid(fake, capsys, changes, line):
    for seed in range(1, 6):
        fake.run("ground_truth", seed, 0.8, **changes)
        for control in CONTROLS:
            fake.run(control, seed, BASE)
    whole_sweeps(fake)
    entry = judged(fake.write(), capsys)
    assert entry["category"] == "invalid"
    assert line in entry["because"]


def whole_sweeps(fake):
    fake.sweep([base_name("pocket/fake")])
    fake.sweep([f"ground_truth-s{seed}" for seed in range(1, 6)], 0.8)


@pytest.mark.parametrize("field", ["measurement", "prompt"])
def test_contracts_that_differ_make_it_invalid(whole, capsys, field):
    path = whole.path / "runs/format-s2/config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for contract in document["config"]["contracts"]:
        contract[field] = "another"
    write_json(path, document)
    RunDirectory(path.parent).finish({})
    entry = judged(whole.write(), capsys)
    assert entry["category"] == "invalid"
    assert "contracts differ" in entry["because"]


def test_too_few_samples_make_it_invalid(whole, capsys, monkeypatch):
    for path in whole.path.glob("runs/*/config.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        for contract in document["config"]["contracts"]:
            contract["decodings"] = [{"temperature": 1.0, "samples": 4}]
        write_json(path, document)
        RunDirectory(path.parent).finish({})
    entry = judged(whole.write(), capsys)
    assert "8 samples per problem at T = 1 wanted, 4 there" in entry["because"]


def test_verifiers_that_disagree_make_it_invalid(whole, capsys, monkeypatch):
    from rlvr_placebo.verdict import faults

    monkeypatch.setattr(faults, "plain_math_verify", lambda gold, answer: gold != answer)
    entry = judged(whole.write(), capsys)
    assert "two verifiers disagree on 100.0 %" in entry["because"]


def test_a_crashed_run_counts_as_what_was_evaluated_last(whole, capsys):
    shutil.rmtree(whole.path / "runs/format-s3")
    whole.runs = [r for r in whole.runs if r[0] != "format-s3"]
    whole.run("format", 3, 0.0, finished=False, crashed=True)
    entry = judged(whole.write(), capsys)
    assert entry["crashed"] == {"format-s3": "out of memory"}
    assert entry["category"] == "genuine"
    arm = next(a for a in entry["arms"] if (a["arm"], a["benchmark"]) == ("format", "given"))
    assert arm["accuracy_by_seed"][2] == pytest.approx(100 * BASE, abs=5)  # as it began


def test_an_arm_that_lost_two_of_five_runs_is_no_control(whole, capsys):
    for seed in (3, 4):
        shutil.rmtree(whole.path / f"runs/format-s{seed}")
        whole.runs = [r for r in whole.runs if r[0] != f"format-s{seed}"]
        whole.run("format", seed, 0.0, finished=False, crashed=True)
    entry = judged(whole.write(), capsys)
    assert entry["category"] == "invalid"
    assert "2 of 5 runs of format crashed" in entry["because"]


def test_answers_that_nobody_could_judge_make_it_invalid(whole, capsys):
    path = whole.path / "runs/ground_truth-s1/evaluations/step-000002.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows[::5]:
        row["correct"] = None
    pq.write_table(pa.Table.from_pylist(rows), path)
    RunDirectory(path.parents[1]).finish({})
    entry = judged(whole.write(), capsys)
    assert "of the answers of reward could not be judged (1 % at most)" in entry["because"]


def test_a_model_that_solves_less_of_the_fresh_benchmark_is_noted(fake, capsys):
    fake.base = fake.table({"given": BASE, "fresh": 0.1})
    for seed in range(1, 6):
        fake.run("ground_truth", seed, {"given": 0.8, "fresh": 0.15})
        for control in CONTROLS:
            fake.run(control, seed, {"given": BASE, "fresh": 0.1})
    whole_sweeps(fake)
    entry = judged(fake.write(), capsys)
    assert "hard to compare in points" in entry["notes"][0]
    assert entry["difference_log_odds"]["permutation_above"] < 0.05
    assert len(entry["arms"]) == 12


def test_a_study_that_is_not_the_protocols_is_invalid(whole, capsys):
    path = whole.write()
    controls = {c.partition("(")[0]: c for c in CONTROLS}
    protocol = Protocol("given", "fresh", rewards=("ground_truth",), runs=("a", "b"),
                        controls={"ground_truth": controls})  # fmt: skip
    write_json(path / "protocol.json", {"protocol": protocol.as_dict(), "hash": protocol.hash})
    assert main(["verdict", str(path), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["verdicts"]
    assert entry["category"] == "invalid"
    assert "not those of the protocol" in entry["because"]


def test_one_cluster_is_invalid(tmp_path, capsys):
    fake = FakeStudy(tmp_path / "few", problems=2)
    for seed in range(1, 6):
        for reward in ("ground_truth", *CONTROLS):
            fake.run(reward, seed, 0.6)
    whole_sweeps(fake)
    entry = judged(fake.write(), capsys)
    assert entry["category"] == "invalid"
    assert "stand in one cluster" in entry["because"]


def test_collapsed_seeds_are_counted(fake, capsys):
    for seed in range(1, 6):
        fake.run("ground_truth", seed, 0.8)
        for control in CONTROLS:
            fake.run(control, seed, 0.05 if control == "format" and seed < 3 else BASE)
    whole_sweeps(fake)
    entry = judged(fake.write(), capsys)
    shares = {a["arm"]: a["collapsed"] for a in entry["arms"] if a["benchmark"] == "given"}
    assert shares["format"] == pytest.approx(0.4)
    assert shares["shuffle"] == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_all_wrong_and_an_all_right_model(fake, capsys, share):
    fake.base = fake.table(dict.fromkeys(fake.ends, share))
    for seed in range(1, 6):
        for reward in ("ground_truth", *CONTROLS):
            fake.run(reward, seed, share)
    whole_sweeps(fake)
    entry = judged(fake.write(), capsys)
    assert entry["category"] == "inert"
    assert entry["difference_log_odds"] is None
    assert entry["gain"]["stderr"] > 0


def test_three_problems(tmp_path, capsys):
    fake = FakeStudy(tmp_path / "few", problems=5)
    for seed in range(1, 6):
        for reward in ("ground_truth", *CONTROLS):
            fake.run(reward, seed, 0.6)
    whole_sweeps(fake)
    entry = judged(fake.write(), capsys)
    assert entry["category"] in ("underpowered", "inert", "elicited", "invalid")
    assert entry["category"] != "invalid" or "stand in one cluster" in entry["because"]


def test_every_reward_but_the_controls_is_judged(whole, capsys):
    assert main(["verdict", str(whole.write()), "--fresh", "fresh", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {entry["reward"]: entry["category"] for entry in document["verdicts"]}
    assert found == {"ground_truth": "genuine", "format": "invalid", "majority_vote": "invalid"}
    assert document["protocol"]["before"] is False


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--reward", "grond_truth"], "unknown reward 'grond_truth'"),
        (["--reward", "python"], "none of the rewards to judge is in it"),
    ],
)
def test_mistakes_are_one_line(whole, capsys, more, line):
    assert main(["verdict", str(whole.write()), *more]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def test_a_benchmark_that_is_not_there(whole, capsys):
    entry = judged(whole.write(), capsys, "--benchmark", "givn")
    assert entry["category"] == "invalid"
    assert "givn was not evaluated; there are given, fresh" in entry["because"]


def test_a_folder_that_is_no_study(tmp_path, capsys):
    assert main(["verdict", str(tmp_path)]) == 2
    assert "not a study's folder" in capsys.readouterr().err


def test_a_protocol_cannot_be_changed(whole, capsys):
    path = whole.write()
    controls = {c.partition("(")[0]: c for c in CONTROLS}
    protocol = Protocol("given", "fresh", rewards=("ground_truth",),
                        controls={"ground_truth": controls})  # fmt: skip
    document = {"protocol": protocol.as_dict() | {"delta": 1.0}, "hash": protocol.hash}
    write_json(path / "protocol.json", document)
    assert main(["verdict", str(path)]) == 2
    assert "changed since it was written" in capsys.readouterr().err
    write_json(path / "protocol.json", {"protocol": protocol.as_dict(), "hash": protocol.hash})
    assert main(["verdict", str(path), "--delta", "1"]) == 2
    assert "cannot be judged by another" in capsys.readouterr().err


def test_arms_differ_in_their_rewards_and_in_nothing_else(fake, capsys):
    """Rewards with arguments, and rewards of a user's own, are data in a configuration."""
    for seed in range(1, 6):
        own = {"reward": {"noise": ["mine.py:f", 0.1, 0.2]}, "reward_code": {"mine.py:f": "1a"}}
        fake.run("ground_truth", seed, 0.8, **own)
        for control in CONTROLS:
            data = {"shuffle": [own["reward"]]} if control.startswith("shuffle") else control
            code = own["reward_code"] if control.startswith("shuffle") else {}
            fake.run(control, seed, BASE, reward=data, reward_code=code)
    fake.sweep([base_name(MODEL)])
    fake.sweep([f"ground_truth-s{seed}" for seed in range(1, 6)], 0.8)
    assert judged(fake.write(), capsys)["category"] == "genuine"
