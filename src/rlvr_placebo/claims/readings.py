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


class Marks:
    """The marks of one evaluation: problems × samples, 0 and 1, NaN where nobody knows.

    Attributes:
        ids: of the problems, sorted.
        clusters: of the problems.
        of: the marks ``[P, N]`` by name.
    """

    def __init__(self, table: pa.Table, reading: Reading, names: Sequence[str]) -> None:
        """Read the marks of these names.

        Raises:
            PlaceboError: the benchmark was not evaluated like this.
        """
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
        """Answers to each problem."""
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
    if reading.span in (Span.TO_PEAK, Span.SINCE_PEAK):
        return _about_peaks(runs, reading)
    chosen = runs[:1] if reading.untrained else runs
    found = [shares_of(run, reading, prompted) for run in chosen]
    first, shares = found[0][0], np.array([share_P for _, share_P in found])
    return Outcomes(shares, first.clusters, first.samples, trained=not reading.untrained)


def _itself(run: RunDirectory, reading: Reading) -> RunDirectory:
    del reading
    return run


def shares_of(
    run: RunDirectory, reading: Reading, prompted: Prompted = _itself
) -> tuple[Marks, np.ndarray]:
    """One run: a value for every problem, in the order of their ids.

    Returns:
        The marks that values are of, and the values.
    """
    if reading.measure in CELLS:
        return _switched(run, reading)
    if reading.span is Span.LATE:
        return _late(run, reading)
    before = Marks(run.evaluation(0), reading, [reading.measure])
    own = before
    if not reading.untrained:
        own = Marks(run.evaluation(run.config["steps"]), reading, [reading.measure])
    share_P = _mean(own.of[reading.measure])
    if reading.template:
        other = prompted(run, reading).evaluation(0)
        return own, _mean(Marks(other, reading, [reading.measure]).of[reading.measure]) - share_P
    if reading.change and not reading.untrained:
        share_P = share_P - _mean(before.of[reading.measure])
    return own, share_P


def _mean(marks_P_N: np.ndarray) -> np.ndarray:
    """Share of the marks that are known; NaN where none is."""
    known_P = np.isfinite(marks_P_N).sum(axis=1)
    return np.where(known_P > 0, np.nansum(marks_P_N, axis=1) / np.maximum(known_P, 1), np.nan)


def _switched(run: RunDirectory, reading: Reading) -> tuple[Marks, np.ndarray]:
    """What a cell of strategies adds to accuracy, less half of the whole gain.

    It is above 0 where the cell carries most of a gain.
    """
    names = ["code", "correct"]
    before = Marks(run.evaluation(0), reading, names)
    after = Marks(run.evaluation(run.config["steps"]), reading, names)
    was, became = (float(name == "code") for name in reading.measure.split("_"))
    inside = (before.of["code"] == was) & (after.of["code"] == became)
    gain = np.nan_to_num(after.of["correct"]) - np.nan_to_num(before.of["correct"])
    return after, (gain * inside - 0.5 * gain).mean(axis=1)


def _late(run: RunDirectory, reading: Reading) -> tuple[Marks, np.ndarray]:
    """The last evaluation less the one in the middle."""
    steps = _evaluated(run)
    middle = min(steps, key=lambda s: abs(s - steps[-1] / 2))
    last, half = (Marks(run.evaluation(s), reading, [reading.measure]) for s in (steps[-1], middle))
    return last, _mean(last.of[reading.measure]) - _mean(half.of[reading.measure])


def _evaluated(run: RunDirectory) -> list[int]:
    return [record["step"] for record in run.metrics("evaluation")]


def _about_peaks(runs: Sequence[RunDirectory], reading: Reading) -> Outcomes:
    """Changes to or since the peak of each run.

    Which evaluation is a run's peak is said by the mean of the *other* seeds on one half of the
    problems: neither its own luck nor that of the problems on which it is read has chosen it.
    """
    steps = _evaluated(runs[0])
    marks = Marks(runs[0].evaluation(steps[0]), reading, [reading.measure])
    share_S_T_P = np.array([
        [_mean(Marks(run.evaluation(s), reading, [reading.measure]).of[reading.measure])
         for s in steps] for run in runs
    ])  # fmt: skip
    chosen, _ = halves(dict(zip(marks.ids, marks.clusters, strict=True)))
    here = np.array([id in chosen for id in marks.ids])
    rows = []
    for seed, share_T_P in enumerate(share_S_T_P):
        others = np.delete(share_S_T_P, seed, axis=0) if len(runs) > 1 else share_S_T_P
        peak = share_T_P[int(np.nanmean(others[:, :, here], axis=(0, 2)).argmax())]
        change = peak - share_T_P[0] if reading.span is Span.TO_PEAK else share_T_P[-1] - peak
        rows.append(np.where(here, np.nan, change))
    return Outcomes(np.array(rows), marks.clusters, marks.samples)
