"""The clipping laboratory's decision by hand, and the drift it is taken from."""

import json
import shutil
from pathlib import Path

import pytest

from rlvr_placebo.claims import laboratory
from rlvr_placebo.claims.settle import BAD, FAR, MASK, MODEL, Decision, decide, towards
from rlvr_placebo.cli.main import main
from rlvr_placebo.clipping.cells import CELLS
from rlvr_placebo.core.errors import PlaceboError


def drifts(both, mask=(0.001, 0.02), value=None):
    """What :func:`towards` finds, with a margin of 0.005."""
    value = sum(both) / 2 if value is None else value
    cells = {"both": {"value": value, "interval90": both}}
    return {"cells": cells, "beyond_mask": {"interval90": mask}, "margin": 0.005}


def ends(good=False, bad=False, narrower=False, mask=None, gain=(1.0, 2.0)):
    def entry(rises):
        over = {"rises": rises, "narrower": narrower,
                "spread": {"variances": 0.0 if narrower else 0.9}}  # fmt: skip
        beside = over if mask is None else {**over, "rises": mask}
        return {"both": {"gain": {"interval90": gain}, "over": {FAR: over, MASK: beside}}}

    return {MODEL: entry(good), BAD: entry(bad)}


SIGNAL = drifts((0.01, 0.02))
NONE = drifts((-0.002, 0.002))


@pytest.mark.parametrize(
    ("drift", "trajectories", "decision"),
    [
        (SIGNAL, ends(good=True), Decision.ACCURACY),
        (SIGNAL, ends(good=True, gain=(-9.0, -1.0)), Decision.SIGNAL),  # off only loses more
        (SIGNAL, ends(good=True, mask=False), Decision.SIGNAL),
        (SIGNAL, ends(), Decision.SIGNAL),
        (drifts((0.01, 0.02), mask=(-0.001, 0.02)), ends(good=True), Decision.UNDECIDED),
        (drifts((0.001, 0.008)), ends(good=True, bad=True), Decision.UNDECIDED),  # too small
        (NONE, ends(good=True, bad=True), Decision.STABILISER),
        (drifts((0.001, 0.004)), ends(good=True, bad=True), Decision.STABILISER),
        (NONE, ends(narrower=True), Decision.STABILISER),
        (NONE, ends(good=True), Decision.UNDECIDED),  # in one family only
        (NONE, ends(good=True, bad=True, mask=False), Decision.UNDECIDED),
        (drifts((-0.02, 0.02)), ends(good=True, bad=True), Decision.UNDECIDED),
        (drifts((-0.02, -0.01)), ends(good=True, bad=True), Decision.UNDECIDED),
    ],
)
def test_the_decision(drift, trajectories, decision):
    assert decide(drift, trajectories) is decision


def test_drift_towards_the_likelier_opening_by_hand():
    """A dose of either side, and one at which the marker is one of many: it counts for nothing."""

    def lab(side, both):
        value = {"both": both, "random mask": (0.05, 0.05)}
        rows = [
            {"batch": b, "cell": cell, "drift": 0.1 * b + value.get(cell, (0.0, 0.0))[b],
             "both": [1.0, -1.0]}
            for b in (0, 1) for cell in CELLS
        ]  # fmt: skip
        return {"side": side, "rows": rows}

    local = {
        "0.1-sgd": lab(-1, (-0.1, -0.3)), "0.9-sgd": lab(1, (0.2, 0.2)),
        "0.5-sgd": lab(0, (9.0, 9.0)), "0.9-adamw": lab(1, (7.0, 7.0)),
    }  # fmt: skip
    found = towards(local, "sgd")
    assert found["doses"] == 2
    assert found["cells"]["both"]["value"] == pytest.approx(0.2)
    assert found["cells"]["both"]["stderr"] == pytest.approx(0.05)  # batches 0.15 and 0.25
    assert found["cells"]["high only"]["value"] == pytest.approx(0.0)
    assert found["beyond_mask"]["value"] == pytest.approx(0.2)  # 0.05 · (1 − 1) / 2 for the mask
    assert found["margin"] == pytest.approx(0.1)
    assert "off" not in found["cells"]
    with pytest.raises(PlaceboError, match="no dose"):
        towards({"0.5-sgd": lab(0, (9.0, 9.0))}, "sgd")


def test_the_page_says_what_was_measured():
    docs = Path(__file__).parents[2] / "docs"
    kept = json.loads((docs / "data/clipping/drift.json").read_text(encoding="utf-8"))
    page = (docs / "findings.md").read_text(encoding="utf-8")
    assert kept.keys() == set(laboratory._names())
    for how in laboratory.HOW:
        found = towards(kept, how)
        for one in [*found["cells"].values(), found["beyond_mask"]]:
            low, high = one["interval90"]
            assert f"{one['value']:+.4f} [{low:+.4f}, {high:+.4f}]" in page


def test_the_laboratory_carried_out(tmp_path, monkeypatch, capsys):
    """As small as it can be: stopped by the clock, continued, and the same command does nothing."""
    few = tmp_path / "few.toml"
    few.write_text(
        'models = ["pocket/code-prior", "pocket/bad-code"]\nrewards = ["random(0.5)"]\n'
        "seeds = [1, 2]\n[settings]\nsteps = 1\nrollout.problems = 2\nrollout.samples = 4\n"
        "evaluation.max_tokens = 8\nevaluation.samples = 1\nevaluation.temperatures = [1.0]\n"
        "[variants.both]\n[variants.off]\n"
        'clip_low = "off"\nclip_high = "off"\n'
        '[variants."off, as far"]\nlearning_rate = 6e-5\n'
        '[variants."random mask"]\nmasked = 0.1\n'
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
    assert main(["clipping", "--out", str(out), "--batches", "4"]) == 2
    assert "was begun with batches 2, not 4" in capsys.readouterr().err
    (out / "doses.json").write_text("{")  # what is cheap is measured again
    (out / "twin.json").write_text('{"code": "another"}')
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    check_what_is_kept(out, document, capsys)


def check_what_is_kept(out, document, capsys):
    """Three files give the decision again elsewhere; what they lack is measured there."""
    other = out.parent / "other"
    other.mkdir()
    for name in ("study.json", "drift.json", "ends.json"):
        shutil.copy(out / name, other / name)
    command = ["clipping", "--out", str(other), "--batches", "2"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert not list(other.rglob("*.parquet"))
    assert not (other / "doses").exists()
    assert str(out) not in (other / "drift.json").read_text()
    ends = json.loads((other / "ends.json").read_text())
    name, lost = next(iter(ends["runs"].items()))
    changed = {"runs": {**ends["runs"], name: {**lost, "identity": "another"}}}
    (other / "ends.json").write_text(json.dumps({**ends, **changed}))
    assert main(command) == 2
    assert f"{name} was made with another model or other problems" in capsys.readouterr().err
    del ends["runs"][name]
    (other / "ends.json").write_text(json.dumps(ends))
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert [p.name for p in (other / "runs").iterdir()] == [name]
    (other / "drift.json").write_text("{")
    assert main(command) == 2
    assert "drift.json: cannot be read" in capsys.readouterr().err


def test_a_clip_that_never_bound_has_an_interval_of_a_point():
    rows = [{"batch": b, "cell": cell, "drift": 0.1 * b, "both": [1.0, -1.0]}
            for b in (0, 1) for cell in CELLS]  # fmt: skip
    found = towards({"0.9-sgd": {"side": 1, "rows": rows}}, "sgd")
    assert found["cells"]["both"]["interval90"] == (0.0, 0.0)
