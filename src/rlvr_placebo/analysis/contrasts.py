"""Contrasts of arms: a weighted sum of mean accuracies, with an error that strangers accept.

Every estimand of a verdict (docs/verdict.md) is one: the gain Γ is reward − base on one benchmark,
Δ reward − control, D the gain on one benchmark − the gain on another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.core.statistics import Estimate, clustered_mean

LEVEL = 0.05  # of a one-sided test; the interval of both bounds has 90 %
MOST_EXACT = 24  # seeds of both arms whose rearrangements are all counted
DRAWN = 20_000  # rearrangements of more seeds
SLACK = 1e-9  # two sums of the same numbers in another order


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one arm scored on one benchmark.

    Attributes:
        share_S_P: share of right answers by training seed and problem; NaN where none could be
            judged. The untrained model has one row.
        clusters: of the P problems.
        samples: answers behind each share.
        trained: whether rows are training seeds, which vary; the untrained model's does not.
    """

    share_S_P: np.ndarray
    clusters: tuple[str, ...]
    samples: int
    trained: bool = True


Key = tuple[str, str]  # arm and benchmark
BASE = "base"


@dataclass(frozen=True, eq=False)
class Contrast:
    """A weighted sum of mean accuracies (shares of one, or log-odds) and its error.

    Attributes:
        value: the estimate.
        stderr: root of the summed variances of its parts.
        df: Satterthwaite's degrees of freedom.
        seeds: standard error between training seeds.
        problems: standard error over problems, by cluster.
        n: problems, over all benchmarks.
        clusters: of them.
        by_arm: per trained arm what each of its seeds contributes, weights applied.
        fixed: what the arms without seeds contribute.
    """

    value: float
    stderr: float
    df: float
    seeds: float
    problems: float
    n: int
    clusters: int
    by_arm: tuple[np.ndarray, ...] = ()
    fixed: float = 0.0
    _known: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def low(self) -> float:
        """One-sided 95 % lower bound."""
        return self.interval(1 - 2 * LEVEL)[0]

    @property
    def high(self) -> float:
        """One-sided 95 % upper bound."""
        return self.interval(1 - 2 * LEVEL)[1]

    def interval(self, share: float) -> tuple[float, float]:
        """The two-sided interval that holds the truth in such a share of studies."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.df, (1 + share) / 2)) * self.stderr
        return self.value - half, self.value + half

    @property
    def p_above(self) -> float:
        """One-sided p of Student's t against "not above 0"."""
        from scipy.special import stdtr

        return float(stdtr(self.df, -self.value / self.stderr))

    @property
    def p_below(self) -> float:
        """One-sided p of Student's t against "not below 0"."""
        return 1.0 - self.p_above

    @property
    def above(self) -> bool:
        """Surely above 0: the lower bound is, and rearranging seeds (if any) does not disagree."""
        return self.low > 0 and not self.permutation(1) > LEVEL

    @property
    def below(self) -> bool:
        """Surely below 0, likewise."""
        return self.high < 0 and not self.permutation(-1) > LEVEL

    def within(self, margin: float) -> bool:
        """Equivalent to 0: the 90 % interval lies inside ± ``margin`` (two one-sided tests)."""
        return -margin < self.low and self.high < margin

    def permutation(self, sign: int) -> float:
        """One-sided p of a permutation test over training seeds.

        Two trained arms: of all ways to deal their seeds to two arms, the share whose difference is
        at least as large. One: of all ways to turn the sign of each seed's value. Exact up to 12
        seeds of each arm; of more, 20,000 rearrangements are drawn, and the one observed counts.

        Args:
            sign: 1 tests "not above 0", -1 "not below 0".

        Returns:
            NaN where no arm, or more than two, have seeds: there is nothing to rearrange.
        """
        key = f"permutation {sign}"
        if key not in self._known:
            self._known[key] = self._permuted(sign)
        return self._known[key]

    def _permuted(self, sign: int) -> float:
        if len(self.by_arm) == 2:
            one, other = sign * self.by_arm[0], -sign * self.by_arm[1]
            return _share_of_deals(np.concatenate((one, other)), len(one))
        if len(self.by_arm) == 1:
            return _share_of_signs(sign * (self.by_arm[0] + self.fixed))
        return math.nan

    def scaled(self, factor: float) -> dict[str, Any]:
        """As a document; ``factor`` 100 for points per hundred."""
        return {
            "value": factor * self.value,
            "stderr": factor * self.stderr,
            "interval90": [factor * self.low, factor * self.high],
            "df": self.df,
            "stderr_seeds": factor * self.seeds,
            "stderr_problems": factor * self.problems,
            "p_above": self.p_above,
            "p_below": self.p_below,
            "permutation_above": self.permutation(1) if self.by_arm else None,
            "permutation_below": self.permutation(-1) if self.by_arm else None,
            "n": self.n,
            "clusters": self.clusters,
            "clustered_by": "cluster",
            "seeds": [len(values) for values in self.by_arm],
        }


def contrast(outcomes: Mapping[Key, Outcomes], weights: Mapping[Key, float]) -> Contrast:
    """Estimate ``Σ w · mean accuracy`` over arms and benchmarks.

    The variance is that between training seeds (``s²/S`` of each trained arm; an arm's seed
    contributes the weighted sum of its means over the benchmarks) plus that over problems (of each
    benchmark, by cluster, of the weighted sum of the arms' shares averaged over seeds). An arm's s²
    is its own, or that of all trained arms together where that is larger: seeds of one arm that
    happen to agree, while those of the others do not, are luck. Decoding noise is in both parts, so
    the error is rather too large. No part is taken smaller than what one answer more or less would
    change. Degrees of freedom after Satterthwaite 1946.

    Args:
        outcomes: of every arm and benchmark that has a weight; other trained arms lend their s².
        weights: of their mean accuracies.

    Raises:
        ValueError: there is no problem that every arm could be judged on, an arm has one seed only,
            or all problems of a benchmark stand in one cluster.
    """
    arms = list(dict.fromkeys(arm for arm, _ in weights))
    ends = list(dict.fromkeys(end for _, end in weights))
    judged = {end: _judged([outcomes[k] for k in weights if k[1] == end]) for end in ends}
    of_arm = {a: {e: w for (arm, e), w in weights.items() if arm == a} for a in arms}
    values = {a: _by_seed(outcomes, a, own, judged) for a, own in of_arm.items()}
    trained = [a for a in arms if outcomes[a, next(iter(of_arm[a]))].trained]
    seeds = [_between(outcomes, a, of_arm[a], values[a], judged) for a in trained]
    problems = [_over(outcomes, end, weights, judged[end]) for end in ends]
    parts = [*seeds, *((error**2, found.clusters - 1) for error, found in problems)]
    variance, between = sum(v for v, _ in parts), sum(v for v, _ in seeds)
    fixed = sum(float(values[a].mean()) for a in arms if a not in trained)
    return Contrast(
        value=fixed + sum(float(values[a].mean()) for a in trained),
        stderr=math.sqrt(variance),
        df=variance**2 / sum(v**2 / f for v, f in parts),
        seeds=math.sqrt(between),
        problems=math.sqrt(variance - between),
        n=sum(found.n for _, found in problems),
        clusters=sum(found.clusters for _, found in problems),
        by_arm=tuple(values[a] for a in trained),
        fixed=fixed,
    )


def _by_seed(
    outcomes: Mapping[Key, Outcomes], arm: str, weights: Mapping[str, float],
    judged: Mapping[str, np.ndarray | slice],
) -> np.ndarray:  # fmt: skip
    """What each seed of an arm contributes: the weighted sum of its means over the benchmarks."""
    return np.sum(
        [
            weight * np.nanmean(outcomes[arm, end].share_S_P[:, judged[end]], axis=1)
            for end, weight in weights.items()
        ],
        axis=0,
    )


def _between(
    outcomes: Mapping[Key, Outcomes], arm: str, weights: Mapping[str, float], values_S: np.ndarray,
    judged: Mapping[str, np.ndarray],
) -> tuple[float, int]:  # fmt: skip
    """Variance of an arm's mean between its seeds, with its degrees of freedom."""
    count = len(values_S)
    if count < 2:
        raise ValueError(f"{arm}: one seed shows no spread")
    step = sum(
        (w * _step(outcomes[arm, e], len(judged[e]), count)) ** 2 for e, w in weights.items()
    )
    own = max(float(values_S.var(ddof=1)), step * count)
    groups = [values_S]
    for peer in dict.fromkeys(a for a, _ in outcomes):
        there = all((peer, end) in outcomes and outcomes[peer, end].trained for end in weights)
        if peer != arm and there:
            groups.append(_by_seed(outcomes, peer, weights, dict.fromkeys(weights, slice(None))))
    df = sum(len(g) - 1 for g in groups)
    pooled = sum((len(g) - 1) * float(g.var(ddof=1)) for g in groups if len(g) > 1) / df
    return (pooled / count, df) if pooled > own else (own / count, count - 1)


def _over(
    outcomes: Mapping[Key, Outcomes], end: str, weights: Mapping[Key, float], judged: np.ndarray
) -> tuple[float, Estimate]:
    """Standard error of the contrast over the problems of one benchmark."""
    own = {key: w for key, w in weights.items() if key[1] == end}
    share_P = np.sum(
        [w * outcomes[key].share_S_P[:, judged].mean(axis=0) for key, w in own.items()], axis=0
    )
    clusters = outcomes[next(iter(own))].clusters
    found = clustered_mean(share_P, [clusters[p] for p in judged], "cluster")
    if found.stderr is None:
        raise ValueError(f"{end}: all problems stand in one cluster")
    step = max(
        abs(w) * _step(outcomes[key], len(judged), len(outcomes[key].share_S_P))
        for key, w in own.items()
    )
    return max(found.stderr, step), found


def _judged(outcomes: Sequence[Outcomes]) -> np.ndarray:
    """Indices of the problems that could be judged in every row of every arm."""
    known = np.all([np.isfinite(o.share_S_P).all(axis=0) for o in outcomes], axis=0)
    if not known.any():
        raise ValueError("no problem could be judged in every arm")
    return np.flatnonzero(known)


def _step(outcomes: Outcomes, problems: int, seeds: int) -> float:
    """What one answer more or less changes in the mean of an arm."""
    return 1.0 / (seeds * problems * outcomes.samples)


def log_odds(
    outcomes: Mapping[Key, Outcomes], weights: Mapping[Key, float]
) -> dict[Key, float] | None:
    """Weights that turn a contrast of accuracies into one of log-odds, by the delta method.

    ``d logit(p) = dp / (p (1 − p))``. None where an accuracy is 0 or 1.
    """
    found = {}
    for key, weight in weights.items():
        mean = float(np.nanmean(outcomes[key].share_S_P))
        if not 0 < mean < 1:
            return None
        found[key] = weight / (mean * (1 - mean))
    return found


def _share_of_deals(values_N: np.ndarray, taken: int) -> float:
    """Of all ways to choose ``taken`` values, the share whose sum is at least that of the first.

    Counted exactly without writing them all down: a choice is one of the first half of the values
    and one of the second, so for every size of the two, sums of the one are looked up among those
    of the other.
    """
    count = len(values_N)
    wanted = values_N[:taken].sum() - SLACK * (1 + np.abs(values_N).sum())
    if count > MOST_EXACT:
        drawn_R = _drawn_deals(count, taken) @ values_N
        return float((1 + np.count_nonzero(drawn_R >= wanted)) / (1 + DRAWN))
    halves = [_sums_by_size(half) for half in (values_N[: count // 2], values_N[count // 2 :])]
    reached = 0
    for size, sums in enumerate(halves[0]):
        if 0 <= taken - size < len(halves[1]):
            others = halves[1][taken - size]
            reached += int((len(others) - np.searchsorted(others, wanted - sums)).sum())
    return reached / math.comb(count, taken)


@cache
def _drawn_deals(count: int, taken: int) -> np.ndarray:
    """Random choices of ``taken`` among so many values, one row of 0 and 1 each."""
    rows_R_N = np.tile((np.arange(count) < taken).astype(float), (DRAWN, 1))
    return generator_for(0, 0, "", 0, "permutations of seeds").permuted(rows_R_N, axis=1)


def _sums_by_size(values: np.ndarray) -> list[np.ndarray]:
    """The sums of all choices of some values, sorted, by how many are chosen."""
    size_C, chosen_C_N = _choices(len(values))
    sums_C = chosen_C_N @ values
    return [np.sort(sums_C[size_C == size]) for size in range(len(values) + 1)]


@cache
def _choices(count: int) -> tuple[np.ndarray, np.ndarray]:
    """All choices among so many values: how many are chosen, and rows of 0 and 1."""
    chosen_C_N = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(float)
    return chosen_C_N.sum(axis=1), chosen_C_N


def _share_of_signs(values_S: np.ndarray) -> float:
    """Of all ways to turn the signs of values, the share whose sum is at least that of none."""
    count = len(values_S)
    wanted = values_S.sum() - SLACK * (1 + np.abs(values_S).sum())
    if count > MOST_EXACT // 2:
        rng = generator_for(0, 0, "", 0, "signs of seeds")
        drawn_R = rng.choice((1.0, -1.0), (DRAWN, count)) @ values_S
        return float((1 + np.count_nonzero(drawn_R >= wanted)) / (1 + DRAWN))
    signs_R_S = 2.0 * _choices(count)[1] - 1.0
    return float(np.mean(signs_R_S @ values_S >= wanted))
