"""The prompt sweep: how much of a gain a better prompt for the untrained model would have given.

The prompt and temperature are chosen on one half of a development set and scored on the other, so
that the best of many is not the luckiest of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from rlvr_placebo.analysis.prompts import DOCUMENT, best, halves, samples_file
from rlvr_placebo.analysis.summary import summarize
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import write_table
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.rundir import PARTS, RunDirectory
from rlvr_placebo.core.statistics import Estimate, interval, share_interval
from rlvr_placebo.evaluate.contract import EvaluationConfig, check_evaluation
from rlvr_placebo.model.checkpoint import Checkpoint
from rlvr_placebo.model.device import device_of, name_of
from rlvr_placebo.rollout.protocol import check_length
from rlvr_placebo.text.templates import get_template
from rlvr_placebo.train.evaluations import measure
from rlvr_placebo.train.standalone import Computing, Place, documented, engine_for, loaded
from rlvr_placebo.train.trial import Benchmark, make_benchmarks
from rlvr_placebo.train.watch import Watch


def sweep_prompts(
    model: str,
    how: EvaluationConfig,
    templates: Sequence[str],
    place: Place,
    watch: Watch,
    computing: Computing,
) -> dict[str, Any]:
    """Evaluate an untrained model under every template and temperature; choose, then score.

    Args:
        model: family, folder or hub id.
        how: the development set (one benchmark) and how it is decoded.
        templates: to try; one that the model cannot render is left out, and said.
        place: where samples and ``prompts.json`` go.
        watch: hears of progress.
        computing: on which device, and with what precision.

    Returns:
        What ``prompts.json`` holds: accuracy on both halves of every cell, and the chosen one.

    Raises:
        PlaceboError: a mistake in the arguments, or a directory that is in use.
    """
    check_evaluation(how)
    if not templates or len(set(templates)) < len(templates):
        raise PlaceboError("prompts: name at least one template, and none twice")
    checkpoint = loaded(model, computing)
    ready, left_out = _ready(checkpoint, how, templates, computing.precision)
    problems = next(iter(ready.values())).problems
    if not all(halves(_clusters(problems))):
        raise PlaceboError(
            f"prompts: {how.benchmarks[0]} cannot be halved: its {len(problems)} problems stand in "
            "one cluster"
        )
    contracts = {name: b.contract.as_dict() for name, b in ready.items()}
    config = {"model": model, "model_digest": checkpoint.digest, "contracts": contracts}

    def work(directory: RunDirectory) -> dict[str, Any]:
        engine = engine_for(checkpoint, computing, how, list(ready.values()), watch)
        cells = []
        for name, benchmark in ready.items():
            scratch = directory.path / PARTS
            table = measure(engine, [benchmark], watch, scratch, f"template {name}")
            write_table(directory.path / samples_file(name), table)
            cells += _cells(name, table, halves(_clusters(benchmark.problems)))
        return {"model": model, "benchmark": how.benchmarks[0], "cells": cells,
                "left_out": left_out, "chosen": best(cells)}  # fmt: skip

    where = name_of(device_of(checkpoint.model))
    return documented(place.out, config, place.resume, DOCUMENT, work, where)


def _ready(
    checkpoint: Checkpoint, how: EvaluationConfig, templates: Sequence[str], precision: str
) -> tuple[dict[str, Benchmark], dict[str, str]]:
    """The templates that the model can render, and why it cannot the others."""
    ready, left_out = {}, {}
    for name in templates:
        try:
            template = get_template(name)
            (ready[name],) = make_benchmarks(how, template, checkpoint.tokenizer, precision)
        except PlaceboError as error:
            if "chat template" not in str(error):
                raise
            left_out[name] = str(error)
            continue
        positions = checkpoint.model.architecture.max_positions
        check_length(ready[name].prompts, how.max_tokens, positions)
    if not ready:
        raise PlaceboError(f"prompts: no template is left: {'; '.join(left_out.values())}")
    return ready, left_out


def _clusters(problems: Sequence[Problem]) -> dict[str, str]:
    return {p.id: p.cluster for p in problems}


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
    estimate = Estimate(**entry)
    return {**entry, "interval": interval([estimate]) or share_interval(estimate)}
