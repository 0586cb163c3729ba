"""The control by prompting: what a model scores at its best prompt and temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlvr_placebo.analysis.arms import Samples, samples
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
    rows: list[Samples] = []
    fewest = None
    for sweep in sweeps:
        cells = sweep.read_json(DOCUMENT)["cells"]
        own = [c for c in cells if temperature is None or c["temperature"] == temperature]
        chosen = best(own)
        table = read_table(sweep.path / samples_file(chosen["template"]))
        found = samples(table, table["benchmark"][0].as_py(), chosen["temperature"])
        decoded = table["temperature"].to_pylist().count(chosen["temperature"])
        count = decoded // len(found.ids)
        fewest = min(count, fewest or count)
        rows.append(found)
    first = rows[0]
    _, scored = halves(dict(zip(first.ids, first.clusters, strict=True)))
    places = [i for i, id in enumerate(first.ids) if id in scored]
    aligned = [_aligned(row, first.ids) for row in rows]
    shares = np.array([row[places] for row in aligned])
    return Outcomes(shares, tuple(first.clusters[i] for i in places), fewest or 1, trained)


def _aligned(found: Samples, ids: Sequence[str]) -> np.ndarray:
    """Shares of right answers in the order of ``ids``."""
    place = {id: i for i, id in enumerate(found.ids)}
    return found.correct_P[[place[id] for id in ids]]
