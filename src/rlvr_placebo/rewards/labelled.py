"""Rewards that pay for a label: an answer that need not be the right one.

Labels are votes: the answers that the untrained model gave to a training problem, by frequency
(``Problem.votes``), or that the current group gave; or the gold of another problem. A problem that
lacks the label makes its rewards unknown, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Group, Problem, Score, Status
from rlvr_placebo.rewards.protocol import Reward, score
from rlvr_placebo.verify.judge import equivalent
from rlvr_placebo.verify.vote import count_votes, ranked, wrong


def vote(problem: Problem, rank: int = 1) -> str | None:
    """The answer with the ``rank``-th most votes of the untrained model, right or wrong."""
    found = ranked(problem.votes, rank)
    return found.answer if found else None


def wrong_vote(problem: Problem, rank: int = 1) -> str | None:
    """Likewise among the answers that are known to be wrong."""
    found = ranked(wrong(problem.votes), rank)
    return found.answer if found else None


def minority_vote(problem: Problem) -> str | None:
    """The answer with the fewest votes."""
    return problem.votes[-1].answer if problem.votes else None


def permuted_gold(problem: Problem) -> str | None:
    """The gold answer of another problem of the pool."""
    return problem.permuted_gold


def pay(group: Group, label: str | None) -> list[Score]:
    """1 where the extracted answer equals the label, 0 where not (or where there is none)."""
    scores = []
    for rollout in group.rollouts:
        answer = rollout.verification.extracted
        if label is None:
            scores.append(Score(None, rollout.verification.correct, status=Status.BAD_GOLD))
            continue
        same = False if answer is None else equivalent(label, answer)
        scores.append(score(rollout, None if same is None else float(same)))
    return scores


@dataclass(frozen=True)
class Labelled:
    """Pays for the answer that a function of the problem names."""

    label: Callable[[Problem], str | None]

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Compare every answer with the problem's label; the generator is not used."""
        return pay(group, self.label(group.problem))


def nth(label: Callable[[Problem, int], str | None], rank: float) -> Reward:
    """Pay for the ``rank``-th label.

    Raises:
        PlaceboError: the rank is not 1, 2, 3 …
    """
    if rank < 1 or rank != int(rank):
        raise PlaceboError(f"a vote's rank must be 1, 2, 3 …, not {rank:g}")
    return Labelled(lambda problem: label(problem, int(rank)))


@dataclass(frozen=True)
class GroupMajority:
    """Pays for the most frequent answer of the group itself (TTRL, 2504.16084).

    Of equally frequent answers the one given first is the label; a group without any answer has
    none, and its rewards are unknown.
    """

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Count the group's answers, then compare each with the most frequent one."""
        votes = count_votes([r.verification.extracted for r in group.rollouts]).votes
        return pay(group, votes[0].answer if votes else None)
