"""What a reward is: a pure function of (group, generator) to one score per rollout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rlvr_placebo.core.records import Group, Rollout, Score


class Reward(Protocol):
    """Scores the G rollouts of one problem.

    The generator is the only source of randomness: it is seeded from (run seed, step, problem), so
    that scoring a stored group again gives the stored scores.
    """

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Return one score per rollout, in order."""
        ...


def score(rollout: Rollout, reward: float | None) -> Score:
    """A score beside what the verifier found of the same rollout."""
    found = rollout.verification
    return Score(reward=reward, correct=found.correct, status=found.status)


@dataclass(frozen=True)
class PerCompletion:
    """Lift a reward of one rollout to a reward of a group.

    Example: ``PerCompletion(lambda r: float(boxed(r.completion.text)))``.
    """

    function: Callable[[Rollout], float | None]

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Score each rollout on its own; the generator is not used."""
        return [score(rollout, self.function(rollout)) for rollout in group.rollouts]
