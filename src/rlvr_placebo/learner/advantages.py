"""Advantages: how much better a completion was rewarded than its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

EPSILON = 1e-6
ROUNDING = 1e-12  # relative; a sum of a few weighted rewards is off by less


def group_std(rewards_G: np.ndarray) -> np.ndarray:
    """``(r − mean) / (std + 1e-6)``, std with G − 1 (GRPO; Shao et al. 2024, 2402.03300, eq. 3)."""
    return group_mean(rewards_G) / (np.std(rewards_G, ddof=1) + EPSILON)


def group_mean(rewards_G: np.ndarray) -> np.ndarray:
    """``r − mean`` (Dr. GRPO; Liu et al. 2025, 2503.20783)."""
    return rewards_G - np.mean(rewards_G)


def leave_one_out(rewards_G: np.ndarray) -> np.ndarray:
    """``r − mean of the others`` (RLOO; Ahmadian et al. 2024, 2402.14740)."""
    return group_mean(rewards_G) * len(rewards_G) / (len(rewards_G) - 1)


ADVANTAGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "group_std": group_std,
    "group_mean": group_mean,
    "leave_one_out": leave_one_out,
}


def differ(rewards: Sequence[float | None]) -> bool:
    """Whether a group's known rewards differ by more than rounding: if not, it trains nothing."""
    values = [r for r in rewards if r is not None]
    return len(values) >= 2 and float(np.ptp(values)) > ROUNDING * float(np.abs(values).max())


def advantages(rewards: Sequence[float | None], kind: str) -> np.ndarray:
    """Advantages of one group.

    An unknown reward (None) leaves mean and deviation and gets 0. A group whose known rewards are
    all equal (to within rounding), or of which fewer than two are known, gets exactly 0 everywhere:
    otherwise rounding alone would train, since Adam rescales gradients.

    Args:
        rewards: one per rollout of the group.
        kind: a key of :data:`ADVANTAGES`.

    Returns:
        float64 ``[G]``.
    """
    known = np.array([r is not None for r in rewards])
    values = np.array([r for r in rewards if r is not None], dtype=np.float64)
    result = np.zeros(len(rewards))
    if differ(rewards):
        result[known] = ADVANTAGES[kind](values)
    return result
