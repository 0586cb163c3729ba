"""How much a reward knows: its contrast between right and wrong completions, within groups.

GRPO sees only differences inside a group, so Youden's J = TPR − FPR counts there; a pooled J also
counts what a reward says about problems, which teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlvr_placebo.core.files import read_table
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.core.statistics import Estimate, clustered_mean


@dataclass(frozen=True, eq=False)
class Scored:
    """Rewards of many completions beside what the verifier says; unknown ones left out.

    Attributes:
        reward_N: the reward.
        correct_N: 1 where the completion is right.
        group_N: index of its group.
        cluster_G: of each group's problem.
    """

    reward_N: np.ndarray
    correct_N: np.ndarray
    group_N: np.ndarray
    cluster_G: tuple[str, ...]


def scored(runs: Sequence[RunDirectory]) -> Scored:
    """Every trained completion of some runs whose reward and correctness are known."""
    rewards, corrects, groups, clusters = [], [], [], []
    for run in runs:
        for path in sorted((run.path / "rollouts").glob("step-*.parquet")):
            table = read_table(path, ["group", "reward", "correct", "cluster"])
            reward = table["reward"].to_numpy().astype(float)
            correct = np.array(table["correct"].to_pylist(), dtype=object)
            names, place = np.unique(table["group"].to_numpy(), return_index=True)
            known = np.isfinite(reward) & (correct != None)  # noqa: E711 (elementwise)
            group = np.searchsorted(names, table["group"].to_numpy()) + len(clusters)
            rewards.append(reward[known])
            corrects.append(correct[known].astype(float))
            groups.append(group[known])
            column = table["cluster"].to_pylist()
            clusters += [column[i] for i in place.tolist()]
    if not rewards:
        return Scored(np.zeros(0), np.zeros(0), np.zeros(0, dtype=int), ())
    return Scored(
        np.concatenate(rewards), np.concatenate(corrects), np.concatenate(groups), tuple(clusters)
    )


def reward_quality(scored: Scored) -> dict[str, Any]:
    """J within groups and pooled, and the rates behind it.

    Within a group with a share p of right completions, J is the mean reward of the right ones less
    that of the wrong ones; groups count by p (1 − p), as in GRPO's gradient, so that this is
    ``Σ cov(reward, correct) / Σ var(correct)``. For rewards other than 0 and 1 the rates are mean
    rewards.

    Returns:
        ``within`` and ``pooled`` (estimates, clustered; the pooled one over completions),
        ``true_positive_rate`` and ``false_positive_rate`` within groups, ``groups`` with both right
        and wrong completions, ``differ``: whether the two J differ by more than their errors (the
        pooled one then misleads).
    """
    reward, correct, group = scored.reward_N, scored.correct_N, scored.group_N
    count = len(scored.cluster_G)
    size_G = np.maximum(np.bincount(group, minlength=count), 1)
    mean_G = np.bincount(group, correct, count) / size_G
    centred_N = correct - mean_G[group]
    cov_G = np.bincount(group, centred_N * reward, count) / size_G
    var_G = np.bincount(group, centred_N**2, count) / size_G
    mixed = var_G > 0
    clusters = [c for c, m in zip(scored.cluster_G, mixed, strict=True) if m]
    within = ratio(cov_G[mixed], var_G[mixed], clusters)
    # p (1 − p) times the mean reward of the right ones is (1 − p) times the sum of theirs over n.
    right_G = (1 - mean_G) * np.bincount(group, correct * reward, count) / size_G
    wrong_G = mean_G * np.bincount(group, (1 - correct) * reward, count) / size_G
    rates = [ratio(r[mixed], var_G[mixed], clusters).as_dict() for r in (right_G, wrong_G)]
    pooled = _pooled(scored)
    return {
        "within": within.as_dict(),
        "pooled": pooled.as_dict(),
        "true_positive_rate": rates[0],
        "false_positive_rate": rates[1],
        "groups": int(mixed.sum()),
        "differ": _differ(within, pooled),
    }


def _differ(one: Estimate, other: Estimate) -> bool | None:
    """Whether two estimates are apart, by 0.01 and twice their error; None where one is missing."""
    if one.value is None or other.value is None or one.stderr is None or other.stderr is None:
        return None
    return abs(one.value - other.value) > max(0.01, 2 * (one.stderr**2 + other.stderr**2) ** 0.5)


def ratio(above: np.ndarray, below: np.ndarray, clusters: Sequence[str]) -> Estimate:
    """``Σ above / Σ below`` with its cluster-robust error (the delta method)."""
    total = float(below.sum())
    if not len(below) or total == 0:
        return Estimate(None, None, 0, 0, "cluster")
    value = float(above.sum()) / total
    influence = clustered_mean((above - value * below) / below.mean(), clusters, "cluster")
    return Estimate(value, influence.stderr, len(below), influence.clusters, "cluster")


def _pooled(scored: Scored) -> Estimate:
    """J over all completions, whichever problem they belong to."""
    if not 0 < scored.correct_N.mean() < 1 if len(scored.correct_N) else True:
        return Estimate(None, None, 0, 0, "cluster")
    centred = scored.correct_N - scored.correct_N.mean()
    clusters = [scored.cluster_G[g] for g in scored.group_N.tolist()]
    # As a regression: reward on correctness, over all completions, with an intercept.
    slope = float(centred @ scored.reward_N / (centred @ centred))
    left = scored.reward_N - scored.reward_N.mean() - slope * centred
    scores = centred * left / (centred @ centred) * len(left)
    influence = clustered_mean(scores, clusters, "cluster")
    return Estimate(slope, influence.stderr, len(left), influence.clusters, "cluster")
