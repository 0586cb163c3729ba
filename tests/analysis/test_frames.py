"""A study as tables: what they hold is what the run directories hold."""

import re
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

import rlvr_placebo
from rlvr_placebo.analysis.arms import gains
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.analysis.quality import reward_quality, scored
from rlvr_placebo.core.errors import PlaceboError


def test_every_table_is_what_the_runs_hold(study):
    opened, folder = rlvr_placebo.open_study(study), StudyFolder.open(study)
    runs = folder.finished_runs()
    assert repr(opened) == "StudyFrames('A <b>bold</b> study', 6 of 6 runs finished)"
    assert opened.runs["name"].to_list() == folder.names
    assert set(opened.runs["state"]) == {"finished"}
    assert (opened.runs["seconds_per_step"] > 0).all()
    assert len(opened.steps) == 6 * 3
    for run, name in zip(runs, folder.names, strict=True):
        own = opened.steps.filter(pl.col("name") == name)
        for record, row in zip(run.metrics("step"), own.to_dicts(), strict=True):
            assert row["loss"] == record["loss"]
            assert row["accuracy"] == record["accuracy"]
        summaries = [s for record in run.metrics("evaluation") for s in record["summary"]]
        found = opened.evaluations.filter(pl.col("name") == name)
        assert found["accuracy"].to_list() == [s["accuracy"]["value"] for s in summaries]
        assert found["accuracy_stderr"].to_list() == [s["accuracy"]["stderr"] for s in summaries]
        assert found["accuracy_low"].to_list() == [s["accuracy_bounds"][0] for s in summaries]
        code = opened.behaviours.filter((pl.col("name") == name) & (pl.col("behaviour") == "code"))
        assert code["frequency"].to_list() == [
            s["behaviours"]["code"]["frequency"]["value"] for s in summaries
        ]
    wanted = gains(runs)
    assert opened.gains["gain"].to_list() == [e["gain"] for e in wanted]
    assert opened.gains["low"].to_list() == [e["interval"] and e["interval"][0] for e in wanted]
    quality = reward_quality(scored([r for r in runs if r.config["reward"] == "ground_truth"]))
    truth = opened.rewards.filter(pl.col("reward") == "ground_truth").to_dicts()[0]
    assert truth["within"] == quality["within"]["value"] == 1.0
    assert truth["groups"] == quality["groups"]
    lines = [line for run in runs for r in run.metrics("step") for line in r["warnings"]]
    assert lines
    assert opened.warnings["warning"].to_list() == lines
    assert opened.verdict is None


def test_completions_and_answers_by_run_and_step(study):
    opened = rlvr_placebo.open_study(study)
    name = opened.runs["name"][0]
    every, second = opened.rollouts(name), opened.rollouts(name, step=2)
    assert len(every) == 3 * 4 * 4
    assert every.filter(pl.col("step") == 2).select(second.columns).equals(second)
    before, after = opened.samples(name, step=0), opened.samples(name, step=3)
    assert before["problem_id"].unique().sort().equals(after["problem_id"].unique().sort())
    assert len(opened.samples(name)) == len(before) + len(after)
    for wrong, said in (
        (lambda: opened.rollouts("nobody"), "unknown run 'nobody'"),
        (lambda: opened.rollouts(name, step=9), "has no rollouts of step 9"),
        (lambda: opened.samples(name, step=1), "has no evaluations of step 1"),
    ):
        with pytest.raises(PlaceboError, match=said):
            wrong()


def test_a_study_that_is_not_done_has_tables_of_what_is_there(study, tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    shutil.copy(study / "study.json", folder / "study.json")
    opened = rlvr_placebo.open_study(folder)
    assert set(opened.runs["state"]) == {"waiting"}
    for table in (opened.steps, opened.evaluations, opened.behaviours, opened.gains,
                  opened.rewards, opened.warnings):  # fmt: skip
        assert len(table) == 0
    with pytest.raises(PlaceboError, match="not a study's folder"):
        rlvr_placebo.open_study(tmp_path)


def test_without_polars_one_line_says_what_to_install(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(PlaceboError, match=r"rlvr-placebo\[frames\]"):
        rlvr_placebo.open_study(study)
    with pytest.raises(AttributeError, match="no attribute 'open_studies'"):
        rlvr_placebo.open_studies  # noqa: B018


def test_the_example_of_the_page_runs(study, capsys):
    page = (Path(__file__).parents[2] / "docs/analysis.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert '"runs/demo"' in example
    exec(example.replace("runs/demo", str(study)), {})  # noqa: S102 (our own page)
    said = capsys.readouterr().out
    assert said.count("shape: (") == 3
    assert "ground_truth" in said
    for name in re.findall(r"^\| `(\w+)", page, re.MULTILINE):
        assert hasattr(rlvr_placebo.open_study(study), name)
