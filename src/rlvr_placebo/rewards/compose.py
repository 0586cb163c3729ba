"""Composition of rewards: all of them, not this one, a weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlvr_placebo.core.records import Group, Score
from rlvr_placebo.rewards.protocol import Reward


def _columns(
    parts: Sequence[Reward], group: Group, rng: np.random.Generator
) -> list[tuple[Score, ...]]:
    """Scores of every part, one tuple per rollout; each part has a generator of its own."""
    children = rng.spawn(len(parts))
    rows = [part(group, child) for part, child in zip(parts, children, strict=True)]
    return list(zip(*rows, strict=True))


def _merged(scores: tuple[Score, ...], reward: float | None) -> Score:
    """One score with every part's reward recorded under its place."""
    parts = {str(i): s.reward for i, s in enumerate(scores) if s.reward is not None}
    return replace(scores[0], reward=reward, parts=parts)


@dataclass(frozen=True)
class All:
    """The smallest of its parts; for rewards of 0 and 1, "and".

    A part that is known to be 0 decides, whatever the unknown ones are; otherwise one unknown part
    makes the whole unknown.
    """

    parts: tuple[Reward, ...]

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Score with every part and take the minimum."""
        return [_merged(s, self._minimum(s)) for s in _columns(self.parts, group, rng)]

    @staticmethod
    def _minimum(scores: tuple[Score, ...]) -> float | None:
        known = [s.reward for s in scores if s.reward is not None]
        if len(known) < len(scores) and 0.0 not in known:
            return None
        return min(known)


@dataclass(frozen=True)
class Not:
    """1 − r; unknown stays unknown."""

    inner: Reward

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Score with the inner reward and turn it round."""
        return [
            s if s.reward is None else replace(s, reward=1.0 - s.reward)
            for s in self.inner(group, rng)
        ]


@dataclass(frozen=True)
class WeightedSum:
    """Σ wᵢ rᵢ; unknown where any part is."""

    weights: tuple[float, ...]
    parts: tuple[Reward, ...]

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Score with every part and add."""
        return [_merged(s, self._sum(s)) for s in _columns(self.parts, group, rng)]

    def _sum(self, scores: tuple[Score, ...]) -> float | None:
        total = 0.0
        for weight, s in zip(self.weights, scores, strict=True):
            if s.reward is None:
                return None
            total += weight * s.reward
        return total
