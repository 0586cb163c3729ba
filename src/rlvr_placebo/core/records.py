"""The records a completion travels through: Problem → Completion → Rollout → Group → (Batch).

All are frozen; each docstring shows a literal example. Arrays are NumPy, because everything below
the model floor runs without torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np


class Status(StrEnum):
    """How the judging of one answer ended. Unknown is never 0: see :class:`Score`."""

    OK = "OK"
    NO_ANSWER = "NO_ANSWER"
    TIMEOUT = "TIMEOUT"
    BAD_GOLD = "BAD_GOLD"
    ERROR = "ERROR"


class Finish(StrEnum):
    """Why a completion ended: the model stopped, or the token limit cut it."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Vote:
    """One answer that the untrained model gave to a problem, and how often.

    Example: ``Vote("14", count=9, correct=False, raw="14.0")``: nine of its samples said 14 in one
    way or another, the first of them 14.0, and the verifier finds that wrong.
    """

    answer: str
    count: int
    correct: bool | None
    raw: str


@dataclass(frozen=True)
class Problem:
    """One question with its known answers.

    Example::

        Problem(
            id="5e0c…", messages=({"role": "user", "content": "Ada has 3 pens. …"},),
            golds=("7",), cluster="shop:+-", source="pocket-train", split="train",
            difficulty=2.0, extra={"numbers": [3, 6, 2]},
        )

    ``cluster`` names what problems have in common that makes their outcomes correlated (for pocket
    problems, the template); standard errors are clustered by it. ``votes`` (the untrained model's
    answers, most frequent first) and ``permuted_gold`` (the gold of another problem) are there only
    in the pool of a run that asks for them: they are what rewards with labels pay for.
    """

    id: str
    messages: tuple[Mapping[str, str], ...]
    golds: tuple[str, ...]
    cluster: str
    source: str
    split: str
    difficulty: float | None = None
    votes: tuple[Vote, ...] = ()
    permuted_gold: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The text of the last user message."""
        return self.messages[-1]["content"]


def problem_id(messages: Sequence[Mapping[str, str]], golds: Sequence[str]) -> str:
    """Hash a problem's content into its id (16 hexadecimal digits)."""
    text = json.dumps([list(map(dict, messages)), list(golds)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, eq=False)
class Completion:
    """What the model wrote after one prompt, token by token.

    Example (three tokens, the last one the stop token)::

        Completion(
            tokens=[311, 17, 0], logprobs=[-0.2, -1.6, -0.01], entropies=[0.6, 2.1, 0.1],
            loss_mask=[True, True, True], versions=[4, 4, 4], certainties=[9.1, 5.2, 9.8],
            finish="stop", text="So 7", seed=91,
        )

    Attributes:
        tokens: int32 ``[T]``; ends with the stop token where the model stopped.
        logprobs: float32 ``[T]``, in nats, of the distribution really sampled (after temperature
            and top-p); all 0 at temperature 0, where that distribution is a point.
        entropies: float32 ``[T]``, in nats, of the same distributions.
        loss_mask: bool ``[T]``; False where a token was not chosen by the model.
        versions: int32 ``[T]``; the version of the weights that sampled each token.
        certainties: float32 ``[T]``, in nats: KL(uniform ‖ p), the self-certainty of each
            distribution over the V tokens of the vocabulary (2502.18581); 0 at temperature 0.
        finish: ``stop`` or ``length``.
        text: decoded from ``tokens`` (special tokens dropped); never encoded again.
        seed: the 64-bit seed of this completion's uniforms.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    entropies: np.ndarray
    loss_mask: np.ndarray
    versions: np.ndarray
    certainties: np.ndarray
    finish: Finish
    text: str
    seed: int

    def __post_init__(self) -> None:
        """Let no one change what was sampled, a user's reward least of all."""
        for array in (self.tokens, self.logprobs, self.entropies, self.loss_mask, self.versions,
                      self.certainties):  # fmt: skip
            array.setflags(write=False)

    def __len__(self) -> int:
        """Number of tokens T, the stop token included."""
        return len(self.tokens)


@dataclass(frozen=True)
class Verification:
    """What the real verifier says of one completion.

    Example: ``Verification(correct=True, status=Status.OK, extracted="7")``. ``correct`` is None
    where the verifier cannot tell (time-out, unusable gold, error); a completion without an answer
    is known to be wrong: ``Verification(False, Status.NO_ANSWER, None)``.
    """

    correct: bool | None
    status: Status
    extracted: str | None = None


@dataclass(frozen=True)
class Score:
    """What a reward says of one completion, beside what is true of it.

    Example: ``Score(reward=1.0, correct=False, parts={"format": 1.0}, status=Status.OK)``.
    A reward of None is unknown: it leaves its group's mean and deviation, gets advantage 0, and is
    counted. It is never read as 0.
    """

    reward: float | None
    correct: bool | None
    parts: Mapping[str, float] = field(default_factory=dict)
    status: Status = Status.OK


@dataclass(frozen=True, eq=False)
class Rollout:
    """A completion with its log-probabilities, its verification and (once rewarded) its score.

    Example: ``Rollout(sample=3, completion=…, verification=…, score=Score(1.0, True))``.
    """

    sample: int
    completion: Completion
    verification: Verification
    score: Score | None = None


@dataclass(frozen=True, eq=False)
class Group:
    """The G rollouts of one problem: what GRPO compares, and all that a reward may see.

    Example: ``Group(problem=…, prompt=(12, 88, 5), rollouts=(…16 rollouts…))``; ``prompt`` holds
    the token ids that the model was given.
    """

    problem: Problem
    prompt: tuple[int, ...]
    rollouts: tuple[Rollout, ...]
