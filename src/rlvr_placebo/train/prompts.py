"""The prompt sweep: how much of a gain a better prompt for the untrained model would have given.

The prompt and temperature are chosen on one half of a development set and scored on the other, so
that the best of many is not the luckiest of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlvr_placebo.analysis.summary import summarize
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest, read_table, write_json, write_table
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.rundir import claim
from rlvr_placebo.core.statistics import Estimate, interval
from rlvr_placebo.evaluate.contract import EvaluationConfig, check_evaluation
from rlvr_placebo.model.checkpoint import Checkpoint, load
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.protocol import check_length
from rlvr_placebo.train.evaluations import measure
from rlvr_placebo.train.trial import Benchmark, environment, make_benchmarks
from rlvr_placebo.train.watch import Watch


@dataclass(frozen=True)
class Sweep:
    """What is tried. Example: ``Sweep("pocket-fresh@3", ("plain", "boxed"), (0.0, 1.0))``.

    Attributes:
        benchmark: the development set; its clusters are dealt to two halves.
        templates: to try; one that the model cannot render is left out, and said.
        temperatures: to try with each.
        samples: per problem at temperatures above 0.
        max_tokens: the longest completion.
        seed: of all decoding.
    """

    benchmark: str
    templates: tuple[str, ...]
    temperatures: tuple[float, ...] = (0.0, 1.0)
    samples: int = 4
    max_tokens: int = 96
    seed: int = 0


def sweep_prompts(
    model: str, sweep: Sweep, out: Path, resume: bool, watch: Watch
) -> dict[str, Any]:
    """Evaluate an untrained model under every template and temperature; choose, then score.

    Args:
        model: family, folder or hub id.
        sweep: what is tried.
        out: directory for samples and ``prompts.json``.
        resume: go on with a sweep that was killed there: templates that are done are kept.
        watch: hears of progress.

    Returns:
        What ``prompts.json`` holds: accuracy on both halves of every cell, and the chosen one.

    Raises:
        PlaceboError: a mistake in the arguments, or a directory that is in use.
    """
    how = EvaluationConfig(
        (sweep.benchmark,), 0, sweep.temperatures, sweep.samples, sweep.max_tokens, sweep.seed
    )
    check_evaluation(how)
    if not sweep.templates or len(set(sweep.templates)) < len(sweep.templates):
        raise PlaceboError("prompts: name at least one template, and none twice")
    checkpoint = load(model)
    ready, left_out = _ready(checkpoint, sweep, how)
    contracts = {name: b.contract.as_dict() for name, b in ready.items()}
    config = {"model": model, "model_digest": checkpoint.digest, "contracts": contracts,
              "sweep": asdict(sweep)}  # fmt: skip
    with claim(out, config, resume) as directory:
        if directory.finished:
            directory.must_be_whole()
            return directory.read_json("prompts.json")
        write_json(out / "environment.json", environment())
        engine = NativeEngine(checkpoint.model, checkpoint.tokenizer)
        cells = []
        for name, benchmark in ready.items():
            path = out / f"samples-{digest(name)}.parquet"
            if not path.exists():
                write_table(path, measure(engine, [benchmark], watch, f"template {name}"))
            cells += _cells(name, read_table(path), halves(benchmark.problems))
        document = {"model": model, "benchmark": sweep.benchmark, "cells": cells,
                    "left_out": left_out, "chosen": _chosen(cells)}  # fmt: skip
        write_json(out / "prompts.json", document)
        directory.finish({"templates": list(ready)})
        return directory.read_json("prompts.json")


def _ready(
    checkpoint: Checkpoint, sweep: Sweep, how: EvaluationConfig
) -> tuple[dict[str, Benchmark], dict[str, str]]:
    """The templates that the model can render, and why it cannot the others."""
    ready, left_out = {}, {}
    for name in sweep.templates:
        try:
            (ready[name],) = make_benchmarks(how.benchmarks, name, checkpoint.tokenizer, how)
        except PlaceboError as error:
            if "chat template" not in str(error):
                raise
            left_out[name] = str(error)
            continue
        positions = checkpoint.model.architecture.max_positions
        check_length(ready[name].prompts, sweep.max_tokens, positions)
    if not ready:
        raise PlaceboError(f"prompts: no template is left: {'; '.join(left_out.values())}")
    return ready, left_out


def halves(problems: Sequence[Problem]) -> tuple[set[str], set[str]]:
    """Deal clusters to two halves, by their hash: the ids of the problems in each."""
    clusters = sorted({p.cluster for p in problems}, key=digest)
    first = set(clusters[::2])
    chosen = {p.id for p in problems if p.cluster in first}
    return chosen, {p.id for p in problems} - chosen


def _cells(
    template: str, table: pa.Table, parts: tuple[set[str], set[str]]
) -> list[dict[str, Any]]:
    """Accuracy of one template at every temperature, on the half to choose by and the other."""
    ids = table["problem_id"].to_pylist()
    found = [summarize(table.filter(pa.array([i in part for i in ids]))) for part in parts]
    return [
        {
            "template": template,
            "temperature": choice["temperature"],
            "choice": _accuracy(choice["accuracy"]),
            "score": _accuracy(score["accuracy"]),
            "unknown": choice["unknown"] + score["unknown"],
        }
        for choice, score in zip(*found, strict=True)
    ]


def _accuracy(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "interval": interval([Estimate(**entry)])}


def _chosen(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cell that is best on the half to choose by; of equal ones the first that was named."""
    return max(cells, key=lambda cell: cell["choice"]["value"] or 0.0)
