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

FEWEST = 10  # runs of a model


def correlations(arms: Mapping[Arm, Sequence[RunDirectory]]) -> list[dict[str, Any]]:
    """Pearson's r of the changes of accuracy and of code's frequency, over a model's runs.

    Args:
        arms: finished runs; those under variants are left out.

    Returns:
        One entry per model with ten runs or more whose code varies: ``r``, its 95 % ``interval``
        (Fisher 1921; runs of one reward are taken as independent, which they are not quite), ``n``.
    """
    from scipy.stats import pearsonr

    by_model: dict[str, list[RunDirectory]] = {}
    for arm, runs in arms.items():
        if arm.variant == "plain":
            by_model.setdefault(arm.model, []).extend(runs)
    found = []
    for model, runs in by_model.items():
        if len(runs) < FEWEST:
            continue
        benchmark = runs[0].config["contracts"][0]["benchmark"]
        code, accuracy = (_changes(runs, Reading(m, benchmark)) for m in ("code", "correct"))
        if np.ptp(code) == 0 or np.ptp(accuracy) == 0:
            continue
        result = pearsonr(code, accuracy)
        low, high = result.confidence_interval(0.95)
        found.append({"model": model, "r": float(result.statistic),
                      "interval": [float(low), float(high)], "n": len(runs)})  # fmt: skip
    return found


def _changes(runs: Sequence[RunDirectory], reading: Reading) -> np.ndarray:
    """The mean change of every run."""
    shares = outcomes_of(runs, reading, lambda run, reading: run).share_S_P
    return np.nanmean(shares, axis=1)
