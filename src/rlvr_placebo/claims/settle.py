"""From what the clipping laboratory measured to its decision, by rules written before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np

from rlvr_placebo.analysis.contrasts import Outcomes
from rlvr_placebo.claims.claim import Arm, Effect, Reading, Rule
from rlvr_placebo.claims.decide import find
from rlvr_placebo.clipping.cells import BOTH, CELLS, OFF
from rlvr_placebo.clipping.drift import spread_of
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.statistics import mean_of_runs, two_groups
from rlvr_placebo.verdict.power import detectable

MODEL, BAD, REWARD = "pocket/code-prior", "pocket/bad-code", "random(0.5)"
MASK, FAR = "random mask", "off, as far"
REFERENCES = (OFF, FAR, MASK)
LUCK = 0.1  # of what one rollout's rewards move by luck: in a hundred rollouts, as much as luck
LOGGED = (
    "clip_ratio/high_mean", "clip_ratio/low_mean", "first_token/high_bound_of_positive",
    "first_token/low_bound_of_negative", "first_token/entropy", "first_token/kl_rollout",
    "first_token/max_logprob_difference", "entropy", "kl_rollout", "grad_norm",
    "mismatch/max_logprob_difference", "marker/above", "marker/below",
)  # fmt: skip


class Decision(StrEnum):
    """What the laboratory says of clipping under random rewards."""

    SIGNAL = "signal"
    ACCURACY = "reaches accuracy"
    STABILISER = "stabiliser only"
    UNDECIDED = "undecided"


RULES: Mapping[Decision, str] = {
    Decision.ACCURACY: "signal; and with both clips good code surely gains, and ends surely above "
    "off that goes as far and above the random mask, by 3 points or more",
    Decision.SIGNAL: "with both clips the marker drifts surely towards the likelier opening, "
    "surely more than without and than with the random mask, by a tenth or more of what luck moves "
    "it in one rollout",
    Decision.STABILISER: "no drift of a tenth of that luck either way; and in both families runs "
    "with both clips end surely above off that goes as far and above the random mask, by 3 points "
    "or more, or surely with a smaller spread",
    Decision.UNDECIDED: "otherwise",
}


def decide(drift: Mapping[str, Any], ends: Mapping[str, Mapping[str, Any]]) -> Decision:
    """The decision, by :data:`RULES`.

    Args:
        drift: from :func:`towards`, by SGD.
        ends: from :func:`trajectories`.
    """
    both, margin = drift["cells"][BOTH], drift["margin"]
    low, high = both["interval90"]
    surely = low > 0 and drift["beyond_mask"]["interval90"][0] > 0
    good, bad = ends[MODEL][BOTH], ends[BAD][BOTH]
    if surely and both["value"] >= margin:
        gains = good["gain"]["interval90"][0] > 0
        above = all(good["over"][name]["rises"] for name in (FAR, MASK))
        return Decision.ACCURACY if gains and above else Decision.SIGNAL
    none = low > -margin and high < margin
    steadier = all(_steadier(entry["over"][name]) for entry in (good, bad) for name in (FAR, MASK))
    return Decision.STABILISER if none and steadier else Decision.UNDECIDED


def _steadier(over: Mapping[str, Any]) -> bool:
    """Ends surely above, by δ, or surely with a smaller spread."""
    alike = over["spread"]["variances"]
    return bool(over["rises"] or (alike is not None and alike <= 0.05 and over["narrower"]))


def towards(local: Mapping[str, Any], how: str) -> dict[str, Any]:
    """Drift towards the likelier opening, in log-odds a rollout, over the doses that have one.

    Args:
        local: documents of local drift by name, ``<dose>-<how>``.
        how: which of them.

    Returns:
        ``cells``: each beyond off; ``beyond_mask``: both clips beyond the random mask; ``off``:
        its own; ``margin``: :data:`LUCK` of what one rollout's rewards move without a clip.

    Raises:
        PlaceboError: the marker stands to no side at any dose.
    """
    own = [d for name, d in local.items() if name.endswith(how) and d["side"]]
    if not own:
        raise PlaceboError(f"{how}: no dose at which the marker stands to one side of all")

    def over(cell: str, other: str | None) -> dict[str, Any]:
        # One value per batch: doses share problems and seeds, so batches are what is independent.
        by_D_B = np.array([
            d["side"] * (_drifts(d, cell) - (_drifts(d, other) if other else 0.0)) for d in own
        ])  # fmt: skip
        one = mean_of_runs(by_D_B.mean(axis=0).tolist())
        seen = detectable(one.stderr or 0.0, one.clusters - 1)
        return {**one.as_dict(), "interval90": spread_of(one, 0.90), "detectable": seen}

    luck = [np.std([row["both"] for row in rows_of(d, OFF)]) for d in own]
    return {
        "cells": {cell: over(cell, OFF) for cell in CELLS if cell != OFF},
        "beyond_mask": over(BOTH, MASK),
        "off": over(OFF, None),
        "margin": LUCK * float(np.mean(luck)),
        "doses": len(own),
    }


def _drifts(document: Mapping[str, Any], cell: str) -> np.ndarray:
    return np.array([row["drift"] for row in rows_of(document, cell)])


def rows_of(document: Mapping[str, Any], cell: str) -> list[dict[str, Any]]:
    """The rows of one cell, in the order of the batches."""
    return [row for row in document["rows"] if row["cell"] == cell]


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What was logged, averaged over steps or batches; what only some have is left out."""
    return {
        key: float(np.mean([row[key] for row in rows]))
        for key in LOGGED
        if all(row.get(key) is not None for row in rows)
    }


def trajectories(ends: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Where runs end and what they did, by model and treatment; points per hundred.

    Args:
        ends: what is kept of them (:func:`rlvr_placebo.claims.kept.keep_ends`).
        names: of the runs, in their order.

    Returns:
        Per treatment: ``gain`` in accuracy and in the frequency of ``code``, ``ends`` of all seeds,
        mean ``distance`` from the start, what was ``logged``, and ``over`` each reference.
    """
    by_arm: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in (ends["runs"][name] for name in names):
        by_arm.setdefault((run["model"], run["variant"]), []).append(run)

    @cache
    def look(arm: Arm, reading: Reading) -> Outcomes:
        runs = by_arm[arm.model, arm.variant]
        began = [ends["untrained"][run["untrained"]] for run in runs]
        share_S_P = np.array([run[reading.measure] for run in runs], dtype=float)
        if reading.change:
            share_S_P -= np.array([one[reading.measure] for one in began], dtype=float)
        return Outcomes(share_S_P, tuple(began[0]["clusters"]), began[0]["samples"])

    found: dict[str, dict[str, Any]] = {}
    for (model, cell), runs in by_arm.items():
        own = Arm(model, REWARD, cell)
        logged = [run["logged"] for run in runs]
        entry: dict[str, Any] = {
            "seeds": len(runs),
            "ends": (100 * np.nanmean(look(own, Reading(change=False)).share_S_P, axis=1)).tolist(),
            "distance": float(np.mean([run["distance"] for run in runs])),
            "logged": means(logged),
            "over": {},
        }
        for name, reading in (("gain", Reading()), ("code", Reading("code"))):
            gain = find(Effect(name, ((1.0, own, reading),)), look)
            entry[name] = gain.contrast.scaled(100.0)
        for name in REFERENCES:
            if name != cell and (model, name) in by_arm:
                entry["over"][name] = _over(own, Arm(model, REWARD, name), look)
        found.setdefault(model, {})[cell] = entry
    return found


def _over(own: Arm, other: Arm, look: Any) -> dict[str, Any]:  # noqa: ANN401 (a cached function)
    """What one treatment ends beyond another, in mean and in spread."""
    reading = Reading()
    effect = Effect("beyond", ((1.0, own, reading), (-1.0, other, reading)), Rule.RISES)
    beyond = find(effect, look)
    one, two = (100 * np.nanmean(look(arm, reading).share_S_P, axis=1) for arm in (own, other))
    sds = [float(values.std(ddof=1)) for values in (one, two)]
    return {
        **beyond.contrast.scaled(100.0),
        "rises": beyond.finding == "shown",
        "detectable": beyond.detectable,
        "spread": two_groups(one.tolist(), two.tolist()),
        "sd": sds[0],
        "sd_other": sds[1],
        "narrower": sds[0] < sds[1],
    }
