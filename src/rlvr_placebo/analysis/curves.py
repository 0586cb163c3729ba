"""Learning curves of an arm: one line per seed, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlvr_placebo.core.rundir import RunDirectory

WINDOW = 5  # steps in a moving average


@dataclass(frozen=True)
class Curve:
    """One metric of an arm by step, in its own units, smoothed over :data:`WINDOW` steps.

    Attributes:
        metric: its name in ``metrics.jsonl``.
        seeds: training seeds, one per line.
        steps: step numbers.
        lines_S_T: one row per seed; NaN where a step has no value.
        mean_T: mean over the seeds, of the steps that all of them have reached.
    """

    metric: str
    seeds: tuple[int, ...]
    steps: np.ndarray
    lines_S_T: np.ndarray
    mean_T: np.ndarray


def curve(runs: Sequence[RunDirectory], metric: str) -> Curve:
    """Read a metric of every run of an arm, finished or not."""
    rows = [
        {r["step"]: np.nan if r.get(metric) is None else r[metric] for r in run.metrics("step")}
        for run in runs
    ]
    steps = np.array(sorted({step for row in rows for step in row}), dtype=int)
    lines = np.array([[row.get(t, np.nan) for t in steps.tolist()] for row in rows], dtype=float)
    lines = lines.reshape(len(runs), len(steps))
    smooth = np.array([_smoothed(line) for line in lines]).reshape(lines.shape)
    seeds = tuple(int(run.config["seed"]) for run in runs)
    mean = smooth.mean(axis=0) if len(runs) else np.zeros(0)
    return Curve(metric, seeds, steps, smooth, mean)


def _smoothed(line: np.ndarray) -> np.ndarray:
    """Mean over the last steps of a window, those without a value left out; NaN after the last."""
    known = np.isfinite(line)
    sums = np.cumsum(np.where(known, line, 0.0))
    counts = np.cumsum(known)
    sums[WINDOW:] -= sums[:-WINDOW].copy()
    counts[WINDOW:] -= counts[:-WINDOW].copy()
    reached = np.arange(len(line)) <= np.flatnonzero(known).max(initial=-1)
    return np.where((counts > 0) & reached, sums / np.maximum(counts, 1), np.nan)
