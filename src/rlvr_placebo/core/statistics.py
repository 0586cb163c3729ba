"""Estimates that carry their error. Nothing above prints a number that does not come from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

TINY = 1e-9  # relative to the numbers: less is rounding


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error, its n, and how it was clustered.

    Example: ``Estimate(value=0.52, stderr=0.03, n=500, clusters=77, clustered_by="template")``.
    ``value`` and ``stderr`` are None where nothing was observed; ``stderr`` alone is None where one
    cluster cannot show any spread.
    """

    value: float | None
    stderr: float | None
    n: int
    clusters: int
    clustered_by: str

    def as_dict(self) -> dict[str, object]:
        """The five fields, ready for JSON."""
        return asdict(self)


def clustered_mean(
    values: Sequence[float] | np.ndarray, clusters: Sequence[str], clustered_by: str
) -> Estimate:
    """Mean with the cluster-robust standard error of a ratio estimator.

    ``stderr² = C/(C−1) · Σ_c (Σ_{i∈c} (y_i − ȳ))² / n²`` over C clusters (Liang and Zeger 1986; for
    one value per cluster it is the ordinary ``s/√n``). Miller 2024 (arXiv 2411.00640) recommends it
    for evaluations whose questions come in groups.

    Args:
        values: n observations.
        clusters: the cluster of each.
        clustered_by: what a cluster is, in one word, for the reader of the number.

    Returns:
        The estimate.

    Raises:
        ValueError: the two sequences differ in length.
    """
    y = np.asarray(values, dtype=np.float64)
    if len(y) != len(clusters):
        raise ValueError(f"{len(y)} values but {len(clusters)} cluster labels")
    if len(y) == 0:
        return Estimate(None, None, 0, 0, clustered_by)
    names, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    count = len(names)
    mean = float(y.mean())
    if count == 1:
        return Estimate(mean, None, len(y), 1, clustered_by)
    sums = np.bincount(index, weights=y - mean, minlength=count)
    variance = count / (count - 1) * float(np.sum(sums**2)) / len(y) ** 2
    return Estimate(mean, float(np.sqrt(variance)), len(y), count, clustered_by)


def mean_of_runs(values: Sequence[float]) -> Estimate:
    """Mean over training seeds with the standard error ``s/√S`` (None for a single seed)."""
    return clustered_mean(values, [str(i) for i in range(len(values))], "seed")


def add_errors(*estimates: Estimate) -> float | None:
    """Standard error of a sum of independent parts: the root of the summed squares.

    Returns None where no part has an error.
    """
    known = [e.stderr for e in estimates if e.stderr is not None]
    return float(np.sqrt(sum(s * s for s in known))) if known else None


def share_interval(estimate: Estimate, level: float = 0.95) -> tuple[float, float] | None:
    """Exact interval of a share (Clopper and Pearson 1934), for as many problems as it is worth.

    Those in clusters are worth ``1 + p (1 − p) / stderr²`` (Korn and Graubard 1998), and never more
    than there are; without any spread a cluster counts as one: 0 of 500 problems in 77 clusters is
    at most 4.7 %. It never leaves [0, 1], as Student's does. None where nothing was observed.
    """
    from scipy.special import betaincinv

    if estimate.value is None or estimate.clusters == 0:
        return None
    tail, p = (1.0 - level) / 2, estimate.value
    spread = (estimate.stderr or 0.0) ** 2
    n = float(estimate.clusters) if spread == 0 else min(estimate.n, 1 + p * (1 - p) / spread)
    k = p * n
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1.0 - tail)) if k < n else 1.0
    return low, high


def interval(parts: Sequence[Estimate], level: float = 0.95) -> tuple[float, float] | None:
    """Confidence interval of a value whose variance is the sum of independent parts.

    The half-width is the root of the summed squares of the parts' own half-widths, each Student's t
    with its clusters less one times its standard error. With two or three seeds this covers what it
    says or more (94.5 to 99 % in the simulation of LOG.md), where the degrees of freedom of
    Satterthwaite cover 88 to 94 %; with many seeds the two agree.

    Args:
        parts: estimates of one value, each with the standard error of its part.
        level: of confidence.

    Returns:
        Low and high end, or None where no part has an error, or one shows no spread at all: equal
        numbers from two seeds are luck (or a run that does nothing), not certainty.
    """
    from scipy.special import stdtrit

    known = [(e.stderr, e.clusters) for e in parts if e.stderr is not None]
    value = parts[0].value
    if not known or value is None or any(error == 0.0 for error, _ in known):
        return None
    squares = [
        (float(stdtrit(clusters - 1, 0.5 + level / 2)) * error) ** 2 for error, clusters in known
    ]
    half = sum(squares) ** 0.5
    return value - half, value + half


def two_groups(one: Sequence[float], other: Sequence[float]) -> dict[str, float | None]:
    """Compare two groups of seeds: their means, and whether they vary alike.

    Returns:
        ``difference`` of the means, two-sided p of ``welch`` (Welch 1947) and of the exact
        ``permutation`` of the seeds (200,000 draws where there are more ways), and of
        ``variances`` (Brown and Forsythe 1974: distances to the medians). None where a group has
        fewer than two, or nothing varies.
    """
    from scipy.special import stdtr
    from scipy.stats import permutation_test

    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    difference = float(a.mean() - b.mean())
    found: dict[str, float | None] = dict.fromkeys(("welch", "permutation", "variances"))
    if min(len(a), len(b)) < 2 or max(np.ptp(a), np.ptp(b)) <= TINY * np.abs((*a, *b)).max():
        return {"difference": difference, **found}
    parts = [float(g.var(ddof=1)) / len(g) for g in (a, b)]
    df = sum(parts) ** 2 / sum(v**2 / (len(g) - 1) for v, g in zip(parts, (a, b), strict=True))
    found["welch"] = float(2 * stdtr(df, -abs(difference) / sum(parts) ** 0.5))
    permuted = permutation_test(
        (a, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), vectorized=True,
        n_resamples=200_000, rng=np.random.default_rng(0),
    )  # fmt: skip
    found["permutation"] = float(permuted.pvalue)
    # One-way analysis of variance of the distances: of two groups, the square of Student's t.
    da, db = (np.abs(g - np.median(g)) for g in (a, b))
    within = float(((da - da.mean()) ** 2).sum() + ((db - db.mean()) ** 2).sum())
    if within > TINY * float((da**2).sum() + (db**2).sum()):
        df = len(a) + len(b) - 2
        error = (within / df * (1 / len(a) + 1 / len(b))) ** 0.5
        found["variances"] = float(2 * stdtr(df, -abs(da.mean() - db.mean()) / error))
    return {"difference": difference, **found}
