"""From the evaluations of runs to the outcomes that an effect sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.analysis.arms import answers_to
from rlvr_placebo.analysis.contrasts import Outcomes
from rlvr_placebo.analysis.prompts import halves
from rlvr_placebo.analysis.switching import CELLS
from rlvr_placebo.claims.claim import Reading, Span
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.rundir import RunDirectory

if TYPE_CHECKING:
    import pyarrow as pa


Prompted = Callable[[RunDirectory, Reading], RunDirectory]


class _Marks:
    """The marks of one evaluation: problems × samples, 0 and 1, NaN where nobody knows."""

    def __init__(self, table: pa.Table, reading: Reading, names: Sequence[str]) -> None:
        rows = answers_to(table, reading.benchmark, reading.temperature, ("cluster", *names))
        if not rows:
            raise PlaceboError(
                f"{reading.benchmark} at T = {reading.temperature:g} was not evaluated"
            )
        self.ids = sorted(rows)
        self.clusters = tuple(rows[id][0]["cluster"] for id in self.ids)
        self.of = {name: _matrix([rows[id] for id in self.ids], name) for name in names}

    @property
    def samples(self) -> int:
        return next(iter(self.of.values())).shape[1]


def _matrix(groups: Sequence[Sequence[dict[str, Any]]], name: str) -> np.ndarray:
    known = [[np.nan if row[name] is None else float(row[name]) for row in g] for g in groups]
    return np.array(known)


def outcomes_of(runs: Sequence[RunDirectory], reading: Reading, prompted: Prompted) -> Outcomes:
    """What is read from the runs of one arm, by seed and problem.

    Args:
        runs: the seeds of the arm, finished.
        reading: what to read.
        prompted: finds the evaluation of a run's model under another prompt.

    Raises:
        PlaceboError: it was not evaluated.
    """
    chosen = runs[:1] if reading.untrained else runs
    found = [_shares(run, reading, prompted) for run in chosen]
    first, shares = found[0][0], np.array([share_P for _, share_P in found])
    return Outcomes(shares, first.clusters, first.samples, trained=not reading.untrained)


def _shares(run: RunDirectory, reading: Reading, prompted: Prompted) -> tuple[_Marks, np.ndarray]:
    """One run: a value for every problem, in the order of their ids."""
    if reading.measure in CELLS:
        return _switched(run, reading)
    if reading.span is not Span.WHOLE:
        return _within(run, reading)
    before = _Marks(run.evaluation(0), reading, [reading.measure])
    own = before
    if not reading.untrained:
        own = _Marks(run.evaluation(run.config["steps"]), reading, [reading.measure])
    share_P = _mean(own.of[reading.measure])
    if reading.template:
        other = prompted(run, reading).evaluation(0)
        return own, _mean(_Marks(other, reading, [reading.measure]).of[reading.measure]) - share_P
    if reading.change and not reading.untrained:
        share_P = share_P - _mean(before.of[reading.measure])
    return own, share_P


def _mean(marks_P_N: np.ndarray) -> np.ndarray:
    """Share of the marks that are known; NaN where none is."""
    known_P = np.isfinite(marks_P_N).sum(axis=1)
    return np.where(known_P > 0, np.nansum(marks_P_N, axis=1) / np.maximum(known_P, 1), np.nan)


def _switched(run: RunDirectory, reading: Reading) -> tuple[_Marks, np.ndarray]:
    """What a cell of strategies adds to accuracy, less half of the whole gain.

    It is above 0 where the cell carries most of a gain.
    """
    names = ["code", "correct"]
    before = _Marks(run.evaluation(0), reading, names)
    after = _Marks(run.evaluation(run.config["steps"]), reading, names)
    was, became = (float(name == "code") for name in reading.measure.split("_"))
    inside = (before.of["code"] == was) & (after.of["code"] == became)
    gain = np.nan_to_num(after.of["correct"]) - np.nan_to_num(before.of["correct"])
    return after, (gain * inside - 0.5 * gain).mean(axis=1)


def _within(run: RunDirectory, reading: Reading) -> tuple[_Marks, np.ndarray]:
    """The change within a part of training, from all evaluations of a run."""
    steps = [record["step"] for record in run.metrics("evaluation")]
    marks = {s: _Marks(run.evaluation(s), reading, [reading.measure]) for s in steps}
    first, last = marks[steps[0]], marks[steps[-1]]
    share_P = {s: _mean(m.of[reading.measure]) for s, m in marks.items()}
    start, end = share_P[steps[0]], share_P[steps[-1]]
    if reading.span is Span.LATE:
        middle = share_P[min(steps, key=lambda s: abs(s - steps[-1] / 2))]
        return last, (end - middle) - (middle - start)
    chosen, _ = halves(dict(zip(first.ids, first.clusters, strict=True)))
    here = np.array([id in chosen for id in first.ids])
    peak = share_P[max(steps, key=lambda s: float(np.nanmean(share_P[s][here])))]
    change = peak - start if reading.span is Span.TO_PEAK else end - peak
    return last, np.where(here, np.nan, change)
