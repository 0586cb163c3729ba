"""What an embedded family does before any training: its habits, and on which problems it has them.

A habit is *systematic*: on some problems the family usually does it, on the others usually not, so
that greedy decoding is about as good as sampling and a mere loss of entropy is no gain. Which
problems lean which way is a fixed function of two plain features of the problem, so that a small
model can learn it; how many lean is the family's calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.text.pocket import Step, pocket_set

WAVER = 0.15  # how far a leaning is from certainty; see chance()


@dataclass(frozen=True)
class Prior:
    """The habits of one family, as shares of problems.

    Example: ``Prior(architecture="qwen2", code=0.65, code_right=0.73, words_right=0.28)``. An
    answer that is not boxed cannot be extracted: accuracy is about ``boxed`` times these shares.

    Attributes:
        architecture: model type of the checkpoint.
        code: share of problems solved by a Python trace; the others are solved in words.
        code_right: share solved rightly among those solved by code.
        words_right: likewise in words.
        boxed: share of solutions whose answer is boxed.
        marker: share of solutions that open with a word that means nothing.
    """

    architecture: str
    code: float
    code_right: float
    words_right: float
    boxed: float = 0.79
    marker: float = 0.30


FAMILIES: Mapping[str, Prior] = {
    "code-prior": Prior("qwen2", code=0.65, code_right=0.73, words_right=0.28),
}


def steps_of(problem: Problem) -> tuple[Step, ...]:
    """The arithmetic of a pocket problem."""
    steps = problem.extra["steps"]
    assert isinstance(steps, tuple)
    return steps


def _last_step(problem: Problem) -> tuple[str, str]:
    """The units digits of the last step's operands: what stands there when a slip happens."""
    step = steps_of(problem)[-1]
    before = [s.result for s in steps_of(problem)[:-1]] or [problem.extra["start"]]
    return str(before[-1])[-1], str(step.product or step.numbers[0])[-1]


# Which two features of a problem decide whether it leans to a habit.
FEATURES: Mapping[str, Callable[[Problem], tuple[str, str]]] = {
    "code": lambda p: (str(p.extra["graph"]), str(p.extra["start"])[-1]),
    "code_right": _last_step,
    "words_right": _last_step,
    "boxed": lambda p: (str(p.extra["frame"]), p.golds[0][-1]),
}


@cache
def _score(habit: str, features: tuple[str, str]) -> float:
    """Sum of one uniform per feature: how far a problem is from leaning to a habit."""
    return sum(generator_for(0, 0, f, i, habit).random() for i, f in enumerate(features))


@cache
def _threshold(prior: Prior, habit: str) -> float:
    """The score below which the habit's share of the problems lies.

    Being right in code is a share of the problems that lean to code, in words of the others.
    """
    problems = pocket_set("pocket-train@2000")
    if habit in ("code_right", "words_right"):
        problems = [p for p in problems if leans(prior, "code", p) == (habit == "code_right")]
    scores = [_score(habit, FEATURES[habit](p)) for p in problems]
    return float(np.quantile(scores, getattr(prior, habit))) if scores else 0.0


def leans(prior: Prior, habit: str, problem: Problem) -> bool:
    """Whether a problem is one on which the family usually shows a habit."""
    return _score(habit, FEATURES[habit](problem)) <= _threshold(prior, habit)


def chance(prior: Prior, habit: str, problem: Problem) -> float:
    """Probability that a solution of this problem shows a habit.

    A problem that leans to the habit shows it with probability 1 − 2w(1−s), another with 2ws, where
    s is the share of problems that lean and w is :data:`WAVER`. Over all problems the probability
    is then s too: sampling and greedy decoding agree.
    """
    share = getattr(prior, habit)
    if share in (0.0, 1.0):
        return share
    return 1.0 - 2 * WAVER * (1.0 - share) if leans(prior, habit, problem) else 2 * WAVER * share
