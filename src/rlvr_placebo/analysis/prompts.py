"""The control by prompting: what a model scores at its best prompt and temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlvr_placebo.analysis.arms import samples
from rlvr_placebo.analysis.contrasts import Outcomes
from rlvr_placebo.core.files import digest, read_table
from rlvr_placebo.core.rundir import RunDirectory

DOCUMENT = "prompts.json"


def halves(clusters: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Deal clusters to two halves, by their hash: the ids of the problems in each.

    Args:
        clusters: of each problem, by its id.
    """
    names = sorted(set(clusters.values()), key=digest)
    first = set(names[::2])
    chosen = {id for id, cluster in clusters.items() if cluster in first}
    return chosen, set(clusters) - chosen


def samples_file(template: str) -> str:
    """Name of the file with a template's samples."""
    return f"samples-{digest(template)}.parquet"


def best(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cell that is best on the half to choose by; of equal ones the first that was named."""
    return max(cells, key=lambda cell: cell["choice"]["value"] or 0.0)


def prompt_outcomes(
    sweeps: Sequence[RunDirectory], trained: bool, temperature: float | None = None
) -> Outcomes:
    """What models score on the half they did not choose by, each at its own best prompt.

    Args:
        sweeps: finished sweeps of one model each (see :mod:`rlvr_placebo.train.prompts`).
        trained: whether the models are training seeds of one arm.
        temperature: choose among this temperature only; None: among all.
    """
    rows = []
    for sweep in sweeps:
        cells = sweep.read_json(DOCUMENT)["cells"]
        chosen = best([c for c in cells if temperature in (None, c["temperature"])])
        table = read_table(sweep.path / samples_file(chosen["template"]))
        rows.append(samples(table, table["benchmark"][0].as_py(), chosen["temperature"]))
    clusters = dict(zip(rows[0].ids, rows[0].clusters, strict=True))
    _, half = halves(clusters)
    scored = [id for id in rows[0].ids if id in half]
    shares = np.array([row.correct_of(scored) for row in rows])
    fewest = min(row.samples for row in rows)
    return Outcomes(shares, tuple(clusters[id] for id in scored), fewest, trained)
