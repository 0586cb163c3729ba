"""What an embedded family does before any training: its habits, and on which problems it has them.

A habit is *systematic*: on some problems the family usually does it, on the others usually not, so
that greedy decoding is about as good as sampling and a mere loss of entropy gains little (`placebo
pocket check` measures how little). Which problems lean which way is a fixed function of two plain
features of the problem, so that a small model can learn it; how many lean is the family's
calibration. No habit tells anything of another: on the problems a family solves in words it would
be as good in code as on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.text.pocket import Stamp, Step, pocket_set

RARE = 0.03  # a habit shown, or not shown, on fewer problems than this does not waver


@dataclass(frozen=True)
class Prior:
    """The habits of one family, as shares of problems.

    Example: ``Prior("qwen2", code=0.65, code_accuracy=0.61, words_accuracy=0.28)``.

    Attributes:
        architecture: model type of the checkpoint.
        code: share of problems solved by a Python trace; the others are solved in words.
        code_accuracy: share of the solutions in code whose answer is right *and* boxed (an answer
            without a box cannot be extracted).
        words_accuracy: likewise in words.
        boxed: share of solutions whose answer is boxed; no accuracy can be larger.
        marker: share of solutions that open with a word that means nothing.
        waver: how far a leaning is from certainty, 0 to 1/2; see :func:`chance`.
        memorised: problem set whose problems it met again and again, with right answers.
    """

    architecture: str
    code: float
    code_accuracy: float
    words_accuracy: float
    boxed: float = 0.79
    marker: float = 0.30
    waver: float = 0.15
    memorised: str | None = None

    @property
    def rare(self) -> bool:
        """Whether one of its ways of solving is met on hardly any problem."""
        return 0.0 < min(self.code, 1.0 - self.code) < RARE

    def share(self, habit: str) -> float:
        """Share of the problems that show a habit (a key of :data:`FEATURES`)."""
        if habit == "code_right":
            return self.code_accuracy / self.boxed
        if habit == "words_right":
            return self.words_accuracy / self.boxed
        return {"code": self.code, "boxed": self.boxed}[habit]


def steps_of(problem: Problem) -> tuple[Step, ...]:
    """The arithmetic of a pocket problem."""
    steps = problem.extra["steps"]
    assert isinstance(steps, tuple)
    return steps


def _stamp(problem: Problem) -> Stamp:
    stamp = problem.extra["stamp"]
    assert isinstance(stamp, Stamp)
    return stamp


def _last_step(problem: Problem) -> tuple[str, str]:
    """The units digits of the last step's operands: what stands there when a slip happens."""
    step = steps_of(problem)[-1]
    before = [s.result for s in steps_of(problem)[:-1]] or [problem.extra["start"]]
    return str(before[-1])[-1], str(step.product or step.numbers[0])[-1]


# Which two features of a problem decide whether it leans to a habit. Strategy and box hang on the
# meaningless stamp (and the setting), so neither says anything of how hard a problem is.
FEATURES: Mapping[str, Callable[[Problem], tuple[str, str]]] = {
    "code": lambda p: (str(_stamp(p).day % 10), str(_stamp(p).minute // 10)),
    "boxed": lambda p: (str(p.extra["frame"]), str(_stamp(p).minute % 10)),
    "code_right": _last_step,
    "words_right": _last_step,
}
# The two ways of slipping hang on the same digits; of the draws of their scores this one is taken
# because it makes them independent (tests/pocket).
SALT = {"words_right": 282}


@cache
def _score(habit: str, features: tuple[str, str]) -> float:
    """Sum of one uniform per feature: how far a problem is from leaning to a habit."""
    salt = SALT.get(habit, 0)
    return sum(generator_for(salt, 0, f, i, habit).random() for i, f in enumerate(features))


@cache
def _scores(habit: str) -> np.ndarray:
    """The scores of a sample of training problems."""
    return np.array([_score(habit, FEATURES[habit](p)) for p in _sample()])


@cache
def _sample() -> list[Problem]:
    return pocket_set("pocket-train@6000")


@cache
def _threshold(share: float, habit: str) -> float:
    """The score below which a share of the problems lies."""
    return float(np.quantile(_scores(habit), share))


def leans(prior: Prior, habit: str, problem: Problem) -> bool:
    """Whether a problem is one on which the family usually shows a habit."""
    return prior.share(habit) > 0.0 and _score(habit, FEATURES[habit](problem)) <= _threshold(
        prior.share(habit), habit
    )


def chance(prior: Prior, habit: str, problem: Problem) -> float:
    """Probability that a solution of this problem shows a habit.

    A problem that leans to the habit shows it with probability 1 − 2w(1−s), another with 2ws, where
    s is the share of problems that lean and w the ``waver`` of the prior. Over all problems the
    probability is then s too: sampling and greedy decoding agree. What is rare does not waver: so
    few problems are learnt from clear examples or not at all.
    """
    share = prior.share(habit)
    if share in (0.0, 1.0):
        return share
    wide = 2 * prior.waver if RARE <= share <= 1.0 - RARE else 0.0
    return 1.0 - wide * (1.0 - share) if leans(prior, habit, problem) else wide * share
