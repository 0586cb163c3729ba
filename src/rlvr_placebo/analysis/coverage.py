"""Coverage: which problems a model can solve at all, and which reliably."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlvr_placebo.analysis.arms import Samples
from rlvr_placebo.analysis.contrasts import BASE, Contrast, Outcomes, contrast

PASSES = (1, 4, 16, 64)
THRESHOLDS = (0.1, 0.5, 0.9)  # of Cover@τ


def pass_at_k(right_P: np.ndarray, samples: int, k: int) -> np.ndarray:
    """Chance that at least one of ``k`` answers to a problem is right, unbiased, per problem.

    ``1 − C(n − c, k) / C(n, k)`` for c right ones of n (Chen et al. 2021, arXiv 2107.03374, eq. 1).

    Args:
        right_P: right answers of each problem.
        samples: n, of every problem.
        k: at most n.

    Raises:
        ValueError: ``k`` is larger than ``samples``.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples, not {samples}")
    wrong = samples - np.asarray(right_P, dtype=np.float64)
    enough = wrong >= k
    left = np.where(enough, wrong, k)
    logs = _log_choose(left, k) - _log_choose(np.float64(samples), k)
    return np.where(enough, -np.expm1(logs), 1.0)


def _log_choose(n: np.ndarray | np.float64, k: int) -> np.ndarray:
    from scipy.special import gammaln

    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def cover_at(share_P: np.ndarray, threshold: float) -> np.ndarray:
    """1 for problems of which at least a share ``threshold`` of the answers is right."""
    return (np.asarray(share_P) >= threshold - 1e-12).astype(np.float64)


def coverage(before: Samples, after: Sequence[Samples], margin: float) -> dict[str, Any]:
    """pass@k and Cover@τ of the untrained model and what training added to them, in points.

    What could not be judged counts as wrong.

    Args:
        before: the untrained model.
        after: trained seeds.
        margin: δ, as a share of one.

    Returns:
        ``measures``, one entry each, and ``expands``: by the pass@k of the largest k, ``yes`` where
        it surely rose, ``no`` where it fell or is equivalent, else ``undecided``.
    """
    n = before.samples
    passes = [k for k in PASSES if k <= n]
    ends = [f"pass@{k}" for k in passes] + [f"cover@{t:g}" for t in THRESHOLDS]

    def measured(found: Samples) -> list[np.ndarray]:
        right_P = np.round(found.low_P * n)
        return [pass_at_k(right_P, n, k) for k in passes] + [
            cover_at(right_P / n, t) for t in THRESHOLDS
        ]

    was, became = measured(before), [measured(found) for found in after]
    differences: dict[str, Contrast] = {}
    entries = []
    for place, end in enumerate(ends):
        outcomes = {
            (BASE, end): Outcomes(was[place][None], before.clusters, 1, False),
            ("after", end): Outcomes(np.array([m[place] for m in became]), before.clusters, 1),
        }
        found = contrast(outcomes, {("after", end): 1.0, (BASE, end): -1.0})
        differences[end] = found
        entries.append(
            {"measure": end, "base": 100 * float(was[place].mean()), **found.scaled(100)}
        )
    top = f"pass@{passes[-1]}"
    rise = differences[top]
    expands = "yes" if rise.above else "no" if rise.below or rise.within(margin) else "undecided"
    return {"samples": n, "expands": expands, "by": top, "measures": entries}
