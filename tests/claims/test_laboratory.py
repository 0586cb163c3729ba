"""The clipping laboratory's decision by hand, and the drift it is taken from."""

import json

import pytest

from rlvr_placebo.claims import laboratory
from rlvr_placebo.claims.laboratory import BAD, MODEL, Decision, _towards, decide
from rlvr_placebo.cli.main import main
from rlvr_placebo.clipping.cells import CELLS


def towards(both, mask=(-0.001, 0.001)):
    return {"both": {"interval90": both}, "random mask": {"interval90": mask}}


def ends(good=False, bad=False, narrower=False):
    spread = {"sd": 1.0 if narrower else 4.0, "sd_off": 4.0,
              "spread": {"variances": 0.01 if narrower else 0.9}}  # fmt: skip
    return {MODEL: {"both": {"rises": good, **spread}}, BAD: {"both": {"rises": bad, **spread}}}


@pytest.mark.parametrize(
    ("drift", "trajectories", "decision"),
    [
        (towards((0.01, 0.02)), ends(good=True), Decision.ACCURACY),
        (towards((0.01, 0.02)), ends(), Decision.SIGNAL),
        (towards((0.01, 0.02), mask=(0.01, 0.02)), ends(good=True), Decision.UNDECIDED),
        (towards((-0.002, 0.002)), ends(good=True, bad=True), Decision.STABILISER),
        (towards((-0.002, 0.002)), ends(narrower=True), Decision.STABILISER),
        (towards((-0.002, 0.002)), ends(good=True), Decision.UNDECIDED),  # in one family only
        (towards((-0.02, 0.02)), ends(good=True, bad=True), Decision.UNDECIDED),
        (towards((-0.02, -0.01)), ends(good=True, bad=True), Decision.UNDECIDED),
    ],
)
def test_the_decision(drift, trajectories, decision):
    assert decide(drift, trajectories) is decision


def test_drift_towards_the_likelier_habit_by_hand():
    """Two doses on either side of one half, and one at it, which counts for nothing."""

    def lab(before, both):
        rows = [
            {"batch": b, "cell": cell, "drift": 0.1 * b + (value if cell == "both" else 0.0)}
            for b, value in enumerate(both) for cell in CELLS
        ]  # fmt: skip
        return {"before": before, "rows": rows}

    local = {
        "0.1-sgd": lab(-2.0, (-0.1, -0.3)), "0.9-sgd": lab(2.0, (0.2, 0.2)),
        "0.5-sgd": lab(0.1, (9.0, 9.0)), "0.9-adamw": lab(2.0, (7.0, 7.0)),
    }  # fmt: skip
    found = _towards(local, "sgd")
    assert found["both"]["value"] == pytest.approx(0.2)
    assert found["both"]["stderr"] == pytest.approx(0.05)  # batches 0.15 and 0.25
    assert found["high only"]["value"] == pytest.approx(0.0)
    assert "off" not in found


def test_the_laboratory_carried_out(tmp_path, monkeypatch, capsys):
    """As small as it can be: stopped by the clock, continued, and the same command does nothing."""
    few = tmp_path / "few.toml"
    few.write_text(
        'models = ["pocket/code-prior", "pocket/bad-code"]\nrewards = ["random(0.5)"]\n'
        "seeds = [1, 2]\n[settings]\nsteps = 1\nrollout.problems = 2\nrollout.samples = 4\n"
        "evaluation.max_tokens = 20\nevaluation.samples = 1\n"
        "[variants.both]\n[variants.off]\n"
        'clip_low = "off"\nclip_high = "off"\n'
    )
    small = {"optimizer": "sgd", "learning_rate": 0.3, "problems": 2, "samples": 4, "updates": 2}
    monkeypatch.setattr(laboratory, "study_file", lambda name: few)
    monkeypatch.setattr(laboratory, "DOSE_STEPS", 1)
    monkeypatch.setattr(laboratory, "DOSES", (0.2, 0.3))
    monkeypatch.setattr(laboratory, "HOW", {"sgd": small, "adamw": small})
    monkeypatch.setattr(laboratory, "_twin", lambda: {"sgd": []})
    out = tmp_path / "out"
    command = ["clipping", "--out", str(out), "--batches", "2"]
    assert main([*command, "--minutes", "0.0001"]) == 0
    assert "not run to its end" in capsys.readouterr().out
    assert main(command) == 0
    document = json.loads((out / "clipping.json").read_text(encoding="utf-8"))
    said = capsys.readouterr().out
    assert document["decision"].upper() in said
    assert set(document["trajectories"]) == {MODEL, BAD}
    assert len(document["local"]) == 4
    assert all(lab["cells"].keys() == CELLS.keys() for lab in document["local"])
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
