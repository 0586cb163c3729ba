"""Accuracy beside the frequency of code, over runs: what goes together, not what causes what.

The intervention is the claim ``forced-code``: the same model, its first sentence forced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlvr_placebo.claims.claim import Arm, Reading
from rlvr_placebo.claims.readings import outcomes_of
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.core.seeds import generator_for

FEWEST = 6  # arms of a model
DRAWN = 2000  # samples of arms


def correlations(arms: Mapping[Arm, Sequence[RunDirectory]]) -> list[dict[str, Any]]:
    """Pearson's r of the changes of accuracy and of code's frequency, over a model's runs.

    Args:
        arms: finished runs; those under variants are left out.

    Returns:
        One entry per model with six arms or more whose code varies: ``r`` over its ``n`` runs, and
        its 95 % ``interval``: percentiles over arms drawn with replacement, since runs of one
        reward resemble each other.
    """
    by_model: dict[str, list[list[RunDirectory]]] = {}
    for arm, runs in arms.items():
        if arm.variant == "plain" and runs:
            by_model.setdefault(arm.model, []).append(list(runs))
    found = []
    for model, groups in by_model.items():
        if len(groups) < FEWEST:
            continue
        benchmark = groups[0][0].config["contracts"][0]["benchmark"]
        pairs = [
            np.stack([_changes(runs, Reading(m, benchmark)) for m in ("code", "correct")])
            for runs in groups
        ]
        whole = np.concatenate(pairs, axis=1)
        if np.ptp(whole, axis=1).min() == 0:
            continue
        rng = generator_for(0, 0, model, 0, "arms of a correlation")
        drawn = [
            np.concatenate([pairs[g] for g in rng.integers(len(pairs), size=len(pairs))], axis=1)
            for _ in range(DRAWN)
        ]
        known = [_r(one) for one in drawn if np.ptp(one, axis=1).min() > 0]
        low, high = np.quantile(known, (0.025, 0.975))
        found.append({"model": model, "r": _r(whole), "interval": [float(low), float(high)],
                      "n": whole.shape[1], "arms": len(pairs)})  # fmt: skip
    return found


def _r(pairs_2_N: np.ndarray) -> float:
    return float(np.corrcoef(pairs_2_N)[0, 1])


def _changes(runs: Sequence[RunDirectory], reading: Reading) -> np.ndarray:
    """The mean change of every run."""
    shares = outcomes_of(runs, reading, lambda run, reading: run).share_S_P
    return np.nanmean(shares, axis=1)
