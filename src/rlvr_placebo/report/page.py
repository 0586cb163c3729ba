"""One self-contained HTML page for a study: gains, curves, behaviours, labels, warnings, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from rlvr_placebo.analysis.arms import ERROR_IN_WORDS, TEST_IN_WORDS, gains
from rlvr_placebo.analysis.curves import WINDOW, curve
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.analysis.labels import describe_labels
from rlvr_placebo.core.files import read_table, write_atomic
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.core.statistics import mean_of_runs
from rlvr_placebo.report.drawing import curves, intervals, name_of
from rlvr_placebo.report.verdict import verdict_cards

NAME = "report.html"
SHOWN = ("code", "boxed", "marker", "repetition", "other_language", "long")


def write_report(path: Path) -> Path:
    """Write ``report.html`` into a study's folder; the study may still be running.

    Raises:
        PlaceboError: it is no study's folder, or a run in it is damaged.
    """
    page = render(StudyFolder.open(path))
    write_atomic(path / NAME, page)
    return path / NAME


def render(folder: StudyFolder) -> str:
    """The page as text."""
    finished = folder.finished_runs()
    for run in finished:
        run.must_be_whole()
    entries = gains(finished) if finished else []
    environment = Environment(
        loader=PackageLoader("rlvr_placebo.report", ""), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "number": _number,
        "signed": _signed,
        "arm": name_of,
        "points": lambda share: _number(None if share is None else 100 * share),
    }
    runs = [
        {**entry, **vars(status), "unknown": _unknown(folder.run(status.name))}
        for entry, status in zip(folder.document["runs"], folder.status(), strict=True)
    ]
    models = list(dict.fromkeys(entry["model"] for entry in folder.document["runs"]))
    contracts = [c for run in finished for c in run.config["contracts"]]
    return environment.get_template("page.html.jinja").render(
        name=folder.document["name"],
        description=folder.document["description"],
        finished=len(finished),
        runs=runs,
        models=models,
        groups=_groups(entries),
        error=ERROR_IN_WORDS,
        test=TEST_IN_WORDS,
        verdict=verdict_cards(folder),
        one_seed=any("seeds" not in e["error_contains"] for e in entries),
        on_test=any(e["trains_on_test"] for e in entries),
        unknown=sum(e["unknown"] for e in entries),
        window=WINDOW,
        curves=[_curves(folder, model) for model in models],
        behaviours=[table for model in models for table in _behaviours(folder, model)],
        labels=[row for model in models for row in _labels(folder, model)],
        warnings=_warnings(folder),
        contracts=list({c["measurement"] + c["benchmark"]: c for c in contracts}.values()),
        environment=_environment(finished),
    )


def _environment(runs: Sequence[RunDirectory]) -> dict[str, Any] | None:
    """Versions of the first run that knows them; outside the checksums, so it may be gone."""
    known = [run for run in runs if (run.path / "environment.json").exists()]
    return known[0].read_json("environment.json") if known else None


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}"


def _groups(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gains by model, benchmark and temperature, each with its chart."""
    groups: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for e in entries:
        groups.setdefault((e["model"], e["benchmark"], e["temperature"]), []).append(e)
    return [
        {
            "model": model,
            "benchmark": benchmark,
            "temperature": temperature,
            "entries": members,
            "chart": intervals(members, f"Gains of {model} on {benchmark} at T = {temperature:g}"),
        }
        for (model, benchmark, temperature), members in groups.items()
    ]


def _arms(folder: StudyFolder, model: str) -> list[tuple[str, list[RunDirectory]]]:
    """The runs of a model that have begun, by reward and variant, in the order of the study."""
    arms: dict[str, list[RunDirectory]] = {}
    for entry in folder.document["runs"]:
        run = folder.run(entry["name"])
        if entry["model"] == model and (run.path / "metrics.jsonl").exists():
            marked = {**entry, "trains_on_test": run.config.get("trains_on_test", ())}
            arms.setdefault(name_of(marked), []).append(run)
    return list(arms.items())


def _curves(folder: StudyFolder, model: str) -> dict[str, Any]:
    """A panel per reward: accuracy and frequency of code."""
    panels = []
    for name, runs in _arms(folder, model):
        drawn = [(curve(runs, "accuracy"), "accuracy"), (curve(runs, "behaviour/code"), "code")]
        title = f"{model}, {name}: accuracy and frequency of code by step"
        panels.append({"name": name, "chart": curves(drawn, title)})
    return {"model": model, "panels": panels}


def _behaviours(folder: StudyFolder, model: str) -> list[dict[str, Any]]:
    """Per benchmark: frequency of each behaviour and accuracy with and without it."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, runs in _arms(folder, model):
        done = [run for run in runs if run.finished]
        for when, label in ((0, "untrained"), (-1, name)):
            for benchmark, entries in _last_entries(done, when).items():
                known = rows.setdefault(benchmark, [])
                if label not in [row["name"] for row in known]:
                    known.append(_behaviour_row(label, entries))
    return [
        {"model": model, "benchmark": benchmark, "names": SHOWN, "rows": found}
        for benchmark, found in rows.items()
    ]


def _last_entries(runs: Sequence[RunDirectory], when: int) -> dict[str, list[dict[str, Any]]]:
    """Summaries of one evaluation of each run, at its highest temperature, by benchmark."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        summary = run.metrics("evaluation")[when]["summary"]
        for benchmark, entries in groupby(summary, key=lambda e: e["benchmark"]):
            found.setdefault(benchmark, []).append(max(entries, key=lambda e: e["temperature"]))
    return found


def _behaviour_row(name: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    cells = [
        {
            "frequency": _mean([e["behaviours"][b]["frequency"] for e in entries]),
            "with_it": _mean([e["behaviours"][b]["accuracy_with"] for e in entries]),
            "without": _mean([e["behaviours"][b]["accuracy_without"] for e in entries]),
        }
        for b in SHOWN
    ]
    disagree = _mean([e["code_detectors_disagree"] for e in entries])
    return {"name": name, "cells": cells, "disagree": disagree}


def _mean(estimates: Sequence[Mapping[str, Any]]) -> str:
    """Mean over seeds with its error: over problems (which seeds share) and between seeds."""
    known = [e for e in estimates if e["value"] is not None]
    if not known:
        return "–"
    seeds = mean_of_runs([e["value"] for e in known])
    over_problems = float(np.mean([(e["stderr"] or 0.0) ** 2 for e in known]))
    error = (over_problems + (seeds.stderr or 0.0) ** 2) ** 0.5
    return f"{100 * (seeds.value or 0.0):.1f}±{100 * error:.1f}"


def _labels(folder: StudyFolder, model: str) -> list[dict[str, Any]]:
    """What the labels of a model are worth; each table once."""
    found = {}
    for entry in folder.document["runs"]:
        path = folder.run(entry["name"]).path / "labels.parquet"
        if entry["model"] == model and path.exists():
            found[path.read_bytes()] = {"model": model, **describe_labels(read_table(path))}
    return list(found.values())


def _unknown(run: RunDirectory) -> int:
    """Rewards of a run that were unknown."""
    return sum(int(r["rewards_unknown"]) for r in run.metrics("step"))


def _warnings(folder: StudyFolder) -> list[tuple[str, str]]:
    """Every warning of every run, with where it was given; equal ones together."""
    found: dict[str, list[str]] = {}
    for name in folder.names:
        for record in folder.run(name).metrics("step"):
            for line in record["warnings"]:
                found.setdefault(line, []).append(f"{name}, step {record['step']}")
    return [
        (line, where[0] if len(where) == 1 else f"{where[0]}, and {len(where) - 1} more times")
        for line, where in found.items()
    ]
