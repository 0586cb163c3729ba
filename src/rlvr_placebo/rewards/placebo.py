"""Rewards without information about which completion is better: random, shuffle, constant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Group, Score
from rlvr_placebo.rewards.protocol import Reward, score


@dataclass(frozen=True)
class Random:
    """1 with probability ``rate`` (the paper's γ), independently of everything (2506.10947, §2)."""

    rate: float

    def __post_init__(self) -> None:
        """Refuse a rate that is no probability."""
        if not 0.0 <= self.rate <= 1.0:
            raise PlaceboError(f"random({self.rate:g}): the rate must lie between 0 and 1")

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Draw one number per rollout."""
        draws = rng.random(len(group.rollouts))
        return [score(r, float(u < self.rate)) for r, u in zip(group.rollouts, draws, strict=True)]


@dataclass(frozen=True)
class Shuffle:
    """Another reward's scores, permuted within the group: the true placebo of that reward.

    It keeps the reward's rate, sparsity and variance in every group and removes all information
    about which completion is better. Unknown scores are permuted with the rest.
    """

    inner: Reward

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Score with the inner reward, then permute its numbers."""
        inner_rng, order_rng = rng.spawn(2)
        scores = self.inner(group, inner_rng)
        order = order_rng.permutation(len(scores))
        return [
            replace(own, reward=scores[i].reward, parts={"shuffled_from": float(i)})
            for own, i in zip(scores, order, strict=True)
        ]


@dataclass(frozen=True)
class Constant:
    """The same number for every completion: a reward that must teach nothing."""

    value: float

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Give every rollout the same number."""
        return [score(rollout, self.value) for rollout in group.rollouts]
