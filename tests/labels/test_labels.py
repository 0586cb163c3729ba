"""Labels: votes kept with all that they came from, pools without what has none, two checkers."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pyarrow as pa
import pytest

from rlvr_placebo.analysis.labels import describe_labels, read_votes
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import read_table, write_table
from rlvr_placebo.core.records import Problem, Status
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.labels import quality
from rlvr_placebo.labels.quality import check_incorrect
from rlvr_placebo.labels.votes import (
    Asked,
    LabelsConfig,
    _row,
    _schema,
    attach,
    permute_golds,
    sample_votes,
)
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import TEMPLATES, render
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.settings import make_config
from rlvr_placebo.verify import judge
from rlvr_placebo.verify.equivalence import Finding
from rlvr_placebo.verify.judge import VERSION


def problem(name, *golds):
    return Problem(name, ({"role": "user", "content": name},), golds, name, "test", "train")


def table(rows):
    made = [_row(problem(name, gold), answers) for name, gold, answers in rows]
    return pa.Table.from_pylist(made, schema=_schema())


ROWS = [
    ("a", "7", ["7", "7.0", "8", None]),  # the majority is right
    ("b", "7", ["9", "9", "7", "7"]),  # a tie; 9 came first
    ("c", "7", [None, "", None, "1+*2"]),  # no answer at all
    ("d", "7", ["7", "7", "7", "7"]),  # no wrong answer
    ("e", "1/2", [r"\frac{1}{2}", "0.5", "1/3", "1/3"]),
]


def test_votes_keep_what_they_came_from():
    rows = table(ROWS).to_pylist()
    assert [row["answers"] for row in rows] == [answers for _, _, answers in ROWS]
    assert {row["verifier"] for row in rows} == {VERSION}
    assert [(row["empty"], row["unparsable"], row["tie"]) for row in rows] == [
        (1, 0, False), (0, 0, True), (3, 1, False), (0, 0, False), (0, 0, True)
    ]  # fmt: skip
    votes = read_votes(table(ROWS))
    assert [(v.answer, v.count, v.correct, v.raw) for v in votes["a"]] == [
        ("7", 2, True, "7"), ("8", 1, False, "8")
    ]  # fmt: skip
    assert [v.answer for v in votes["e"]] == [r"\frac{1}{2}", "1/3"]


def test_what_has_no_label_leaves_the_pool_and_is_counted():
    problems = [problem(name, gold) for name, gold, _ in ROWS]
    kept, dropped = attach(problems, table(ROWS))
    assert [p.id for p in kept] == ["a", "b", "e"]
    assert (dropped.without_any_answer, dropped.without_enough_wrong_answers) == (1, 1)
    two = table([("f", "7", ["1", "2", "1"]), ("g", "7", ["1", "7"])])
    kept, dropped = attach([problem("f", "7"), problem("g", "7")], two, wrong_answers=2)
    assert [p.id for p in kept] == ["f"]
    assert dropped.without_enough_wrong_answers == 1
    with pytest.raises(PlaceboError, match="1 of 1 training problems have none"):
        attach([problem("z", "1")], table(ROWS))
    with pytest.raises(PlaceboError, match="no training problem has 1 answer"):
        attach([problem("d", "7")], table(ROWS))


def test_a_description_by_hand():
    found = describe_labels(table(ROWS))
    assert (found["problems"], found["samples"], found["ties"]) == (5, 20, 2)
    assert (found["empty"], found["unparsable"]) == (4 / 20, 1 / 20)
    assert (found["no_answer"], found["no_wrong_answer"]) == (1, 1)
    assert found["majority_right"]["value"] == 3 / 4  # of those with a majority: a, d, e
    assert found["majority_right"]["n"] == 4
    # wrong: a 8 (1 vote), b 9 (2), e 1/3 (2); none tied with another wrong one
    assert (found["incorrect_ties"], found["incorrect_single_votes"]) == (0, 1)


def test_incorrect_labels_are_judged_by_two_checkers(monkeypatch):
    found = check_incorrect(table(ROWS))
    assert found == {
        "labels": 3, "wrong": {"values": 1.0, "math-verify": 1.0}, "doubted": [], "ok": True
    }  # fmt: skip

    # labels made by a careless verifier, for which only equal texts are equal
    def careless_compare(gold, answer, solver):
        return Finding(gold == answer, Status.OK, "text")

    monkeypatch.setattr(judge, "compare", careless_compare)
    careless = [_row(problem("a", "1/2"), ["0.5", "0.5", "3"]), _row(problem("b", "7"), ["8"])]
    for row in careless:
        row["votes"] = row["votes"].replace('"correct": null', '"correct": false')
    doubted = check_incorrect(pa.Table.from_pylist(careless, schema=_schema()))
    assert not doubted["ok"]
    assert doubted["wrong"] == {"values": 0.5, "math-verify": 0.5}
    assert doubted["doubted"] == [{"golds": ["1/2"], "label": "0.5"}]


def test_the_checkers_share_no_code_with_the_verifier():
    assert quality._wrong_to_math_verify(["14"], "15")
    assert not quality._wrong_to_math_verify(["1/2"], r"\frac12")
    assert not quality._wrong_to_math_verify(["14"], "9^{9^{9^9}}")  # too heavy: not judged


def test_golds_go_once_round_the_pool():
    problems = [problem(str(i), str(i)) for i in range(50)]
    permuted = permute_golds(problems, 3)
    assert [p.id for p in permuted] == [p.id for p in problems]
    assert sorted(p.permuted_gold for p in permuted) == sorted(p.golds[0] for p in problems)
    assert all(p.permuted_gold != p.golds[0] for p in permuted)
    assert permute_golds(problems, 3) == permuted
    assert permute_golds(problems, 4) != permuted
    assert permute_golds(problems[:1], 3) == problems[:1]


def asked(checkpoint, problems, samples=8):
    prompts = [render(p, TEMPLATES["plain"], checkpoint.tokenizer) for p in problems]
    return Asked(problems, prompts, LabelsConfig(samples), 72)


def test_sampling_goes_on_where_it_was(shipped, tmp_path):
    problems = load_problems("pocket-train@300")
    engine = NativeEngine(shipped.model, shipped.tokenizer)
    whole = sample_votes(engine, asked(shipped, problems), tmp_path / "one")
    half = sample_votes(engine, asked(shipped, problems), tmp_path / "two")
    parts = sorted((tmp_path / "two").iterdir())
    assert len(parts) == 3
    parts[1].write_bytes(b"cut off")
    parts[2].unlink()
    again = sample_votes(engine, asked(shipped, problems), tmp_path / "two")
    assert whole.equals(half)
    assert whole.equals(again)
    few = sample_votes(engine, asked(shipped, problems[50:60]), tmp_path / "three")
    assert few.equals(whole.slice(50, 10))  # a problem's votes do not depend on its neighbours


def test_the_command_survives_a_kill_and_is_checked(tmp_path, capsys):
    out = tmp_path / "labels"
    command = ["labels", "build", "--model", "pocket/code-prior", "--pool", "pocket-train@500",
               "--samples", "8", "--out", str(out)]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "rlvr_placebo", *command],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(out.glob("parts/part-*.parquet")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "labels.parquet").exists()
    assert main(command) == 0
    assert "500 problems, 4000 samples" in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "labels.parquet", "result.json"]
    assert RunDirectory(out).damaged_files() == []
    assert main(command) == 0  # made already
    assert main(["labels", "check", str(out)]) == 0
    assert "math-verify calls 100.00% of" in capsys.readouterr().out
    assert main(["labels", "check", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    assert main([*command[:-1], str(tmp_path / "other"), "--samples", "0"]) == 2
    assert main(["labels", "check", str(tmp_path)]) == 2
    # a run takes them, and knows their content
    settings = {
        "steps": 1, "problems": 4, "rollout.samples": 4, "pool": "pocket-train@300",
        "labels.folder": str(out), "evaluation.samples": 1, "evaluation.max_tokens": 8,
    }  # fmt: skip
    config = make_config("pocket/code-prior", "incorrect", "pocket", settings)
    made = run(config, tmp_path / "run")
    with pytest.raises(PlaceboError, match="made under prompt plain, not boxed"):
        run(replace(config, template="boxed"), tmp_path / "other-prompt")
    trained = str(made.path / "checkpoints/checkpoint-1")
    with pytest.raises(PlaceboError, match="are votes of another model"):
        run(replace(config, model=trained), tmp_path / "other-model")
    assert (made.path / "labels.parquet").read_bytes() == (out / "labels.parquet").read_bytes()
    assert len(made.config["labels_digest"]) == 64


def test_labels_are_made_once_and_every_arm_has_the_same_pool(tmp_path):
    settings = {
        "steps": 1, "problems": 4, "rollout.samples": 4, "pool": "pocket-train@40",
        "labels.samples": 4, "evaluation.samples": 1, "evaluation.max_tokens": 8,
    }  # fmt: skip
    runs = [
        run(make_config("pocket/code-prior", reward, "pocket", settings), tmp_path / str(i),
            shared=tmp_path / "shared")
        for i, reward in enumerate(["ground_truth", "incorrect", "random"])
    ]  # fmt: skip
    alone = run(make_config("pocket/code-prior", "random", "pocket", settings), tmp_path / "alone")
    assert alone.read_json("result.json") == runs[2].read_json("result.json")
    assert len(list((tmp_path / "shared").glob("labels-*.parquet"))) == 1
    stored = [read_table(r.path / "rollouts/step-000001.parquet") for r in runs]
    assert stored[0]["problem_id"].equals(stored[1]["problem_id"])
    assert stored[0]["text"].equals(stored[1]["text"])
    kept, dropped = attach(
        load_problems("pocket-train@40"), read_table(alone.path / "labels.parquet")
    )
    assert set(stored[0]["problem_id"].to_pylist()) <= {p.id for p in kept}
    assert len(kept) + dropped.without_any_answer + dropped.without_enough_wrong_answers == 40


@pytest.mark.parametrize(
    ("reward", "settings", "message"),
    [
        ("incorrect", {}, "needs labels of the untrained model; add labels.samples=16"),
        ("incorrect(2)", {"labels.samples": 4}, "set labels.wrong_answers=2, for every arm alike"),
        ("minority_vote", {"labels.samples": 4}, "set labels.wrong_answers=2"),
        ("majority_vote", {"labels.samples": 4, "labels.folder": "x"}, "has its own samples"),
        ("majority_vote", {"labels.folder": "nowhere"}, "holds no finished labels"),
        ("incorrect", {"labels.samples": 4, "pool": "benchmark"}, "labels are of training"),
        ("ttrl", {"pool": "pocket-train"}, "sets pool=benchmark itself"),
        ("one_shot", {"pool_size": 3}, "sets pool_size=1 itself"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_sampled(tmp_path, reward, settings, message):
    with pytest.raises(PlaceboError, match=message):
        run(make_config("pocket/code-prior", reward, "pocket", settings), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_damaged_labels_are_one_line(tmp_path, capsys):
    good = table(ROWS)
    for name, damaged in (
        ("other", pa.table({"x": [1]})),
        ("empty", good.slice(0, 0)),
        ("votes", good.set_column(good.schema.get_field_index("votes"), "votes",
                                  pa.array(["{"] * len(good)))),
    ):  # fmt: skip
        write_table(tmp_path / name / "labels.parquet", damaged)
        assert main(["labels", "check", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "folder/labels.parquet").mkdir(parents=True)
    assert main(["labels", "check", str(tmp_path / "folder")]) == 2
