"""The paper's fallback to the last number: only by name, in evaluation, training and labels."""

import pytest

from rlvr_placebo.cli.main import main
from rlvr_placebo.core.files import read_table
from rlvr_placebo.rewards.spec import parse
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.settings import make_config


@pytest.fixture
def few(tmp_path):
    path = tmp_path / "few.jsonl"
    question = "Ada has 12 pens. Ada buys {} more. How many pens does Ada have now? (Day {}, 09:15)"
    rows = [f'{{"problem": "{question.format(i, 10 + i)}", "answer": {12 + i}}}' for i in range(9)]
    path.write_text("\n".join(rows) + "\n")
    return path


def answers(table):
    return table["extracted"].to_pylist()


def test_evaluation(few, tmp_path, capsys):
    found = {}
    for extraction in ("none", "last_number"):
        out = tmp_path / extraction
        arguments = ["eval", "--model", "pocket/no-code", "--benchmark", str(few), "--out",
                     str(out), "--extraction", extraction]  # fmt: skip
        assert main(arguments) == 0
        found[extraction] = answers(read_table(out / "evaluations/step-000000.parquet"))
    assert None in found["none"]
    assert None not in found["last_number"]  # every solution has a number in it
    assert all(a is None or a == b for a, b in zip(*found.values(), strict=True))
    assert main([*arguments[:-3], str(tmp_path / "x"), "--extraction", "first"]) == 2
    assert "extraction must be one of none, last_number" in capsys.readouterr().err


def test_training_and_labels(few, tmp_path):
    changes = {"pool": str(few), "benchmarks": [str(few)], "steps": 1, "rollout.problems": 4,
               "rollout.samples": 4, "labels.samples": 4,
               "evaluation.extraction": "last_number"}  # fmt: skip
    config = make_config("pocket/no-code", parse("majority_vote"), "pocket", changes)
    out = run(config, tmp_path / "r")
    assert None not in answers(read_table(out.path / "rollouts/step-000001.parquet"))
    assert set(read_table(out.path / "labels.parquet")["empty"].to_pylist()) == {0}
