"""Rewards with less information than they seem to have: random, shuffle, constant, noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Group, Score, Status
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
class Noise:
    """Another reward, seen through a noisy channel: J falls by a known factor (2601.04411).

    A 0 becomes 1 with probability ``false_positive`` (ρ₀), a 1 becomes 0 with probability
    ``false_negative`` (ρ₁): of a reward with Youden's J this leaves (1 − ρ₀ − ρ₁) J. Only rewards
    of 0 and 1 have such a channel: another number is unknown, and counted.
    """

    inner: Reward
    false_positive: float
    false_negative: float

    def __post_init__(self) -> None:
        """Refuse rates that are no probabilities."""
        for rate in (self.false_positive, self.false_negative):
            if not 0.0 <= rate <= 1.0:
                raise PlaceboError(f"noise: the rate {rate:g} must lie between 0 and 1")

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Score with the inner reward, then flip some of its numbers."""
        inner_rng, own_rng = rng.spawn(2)
        scores = self.inner(group, inner_rng)
        draws = own_rng.random(len(scores))
        return [self._flip(s, u) for s, u in zip(scores, draws, strict=True)]

    def _flip(self, score: Score, draw: float) -> Score:
        if score.reward is None:
            return score
        if score.reward not in (0.0, 1.0):
            return replace(score, reward=None, status=Status.ERROR)
        rate = self.false_negative if score.reward else self.false_positive
        reward = 1.0 - score.reward if draw < rate else score.reward
        return replace(score, reward=reward, parts={"noiseless": score.reward})


@dataclass(frozen=True)
class Constant:
    """The same number for every completion: a reward that must teach nothing."""

    value: float

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Give every rollout the same number."""
        return [score(rollout, self.value) for rollout in group.rollouts]
