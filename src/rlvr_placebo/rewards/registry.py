"""Every reward by name: what it says, what it takes, how it is made, and what it asks of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.records import Rollout
from rlvr_placebo.rewards import user
from rlvr_placebo.rewards.basic import (
    format_reward,
    ground_truth,
    marker,
    no_python,
    no_repetition,
    python,
)
from rlvr_placebo.rewards.compose import All, Not, WeightedSum
from rlvr_placebo.rewards.intrinsic import low_entropy, self_certainty
from rlvr_placebo.rewards.labelled import (
    GroupMajority,
    Labelled,
    minority_vote,
    nth,
    permuted_gold,
    vote,
    wrong_vote,
)
from rlvr_placebo.rewards.placebo import Constant, Noise, Random, Shuffle
from rlvr_placebo.rewards.protocol import PerCompletion, Reward

NUMBER, REWARD, REWARDS_, PAIRS = "number", "reward", "rewards", "pairs"


@dataclass(frozen=True)
class Entry:
    """One reward by name.

    Attributes:
        usage: how it is written.
        summary: one sentence.
        make: from its arguments (numbers, rewards, pairs of both) to the reward.
        takes: the kinds of its arguments; ``rewards`` and ``pairs`` stand for any number of them.
        defaults: arguments where none is given.
        implies: settings of a run that belong to it, by full key.
        votes: how many different wrong answers a problem needs to have its label, by the reward's
            arguments; 0 where it pays for no vote.
        informed: whether it uses information from outside the model: gold answers, or whatever a
            user's own reward asks.
    """

    usage: str
    summary: str
    make: Callable[..., Reward]
    takes: tuple[str, ...] = ()
    defaults: tuple[float, ...] = ()
    implies: Mapping[str, Any] = field(default_factory=dict)
    votes: Callable[..., int] = lambda *args: 0
    informed: bool = False


def _plain(name: str, function: Callable[[Rollout], float | None], **more: Any) -> Entry:  # noqa: ANN401
    """An entry without arguments; its summary is the first line of the function's docstring."""
    summary = (function.__doc__ or "").splitlines()[0]
    return Entry(name, summary, lambda: PerCompletion(function), **more)


BENCHMARK = "benchmark"  # the pool that consists of the evaluation's own problems

REWARDS: Mapping[str, Entry] = {
    "ground_truth": _plain("ground_truth", ground_truth, informed=True),
    "majority_vote": Entry(
        "majority_vote",
        "1 for the untrained model's most frequent answer, right or wrong (needs labels).",
        lambda: nth(vote, 1),
        votes=lambda: 1,
    ),
    "incorrect": Entry(
        "incorrect(n=1)",
        "1 for its n-th most frequent answer that is known to be wrong (needs labels).",
        lambda rank: nth(wrong_vote, rank),
        (NUMBER,),
        (1.0,),
        votes=int,
        informed=True,
    ),
    "vote": Entry(
        "vote(n)",
        "1 for its n-th most frequent answer, right or wrong (needs labels).",
        lambda rank: nth(vote, rank),
        (NUMBER,),
        votes=int,
    ),
    "minority_vote": Entry(
        "minority_vote",
        "1 for its least frequent answer (needs labels).",
        lambda: Labelled(minority_vote),
        votes=lambda: 2,
    ),
    "permuted_gold": Entry(
        "permuted_gold",
        "1 for the gold answer of another problem: gold permuted over the pool.",
        lambda: Labelled(permuted_gold),
        informed=True,
    ),
    "one_shot": Entry(
        "one_shot",
        "Ground truth on a single training problem, the first of the pool (sets pool_size=1).",
        lambda: PerCompletion(ground_truth),
        implies={"pool_size": 1},
        informed=True,
    ),
    "ttrl": Entry(
        "ttrl",
        "1 for the group's own most frequent answer, on the test problems (sets pool=benchmark).",
        GroupMajority,
        implies={"pool": BENCHMARK},
    ),
    "format": _plain("format", format_reward),
    "python": _plain("python", python),
    "no_python": _plain("no_python", no_python),
    "no_repetition": _plain("no_repetition", no_repetition),
    "marker": _plain("marker", marker),
    "self_certainty": _plain("self_certainty", self_certainty),
    "low_entropy": _plain("low_entropy", low_entropy),
    "random": Entry(
        "random(γ=0.5)",
        "1 with probability γ, whatever the completion.",
        Random,
        (NUMBER,),
        (0.5,),
    ),
    "constant": Entry(
        "constant(c=1)", "c for every completion: must teach nothing.", Constant, (NUMBER,), (1.0,)
    ),
    "shuffle": Entry(
        "shuffle(REWARD)",
        "The scores of REWARD permuted within each group: its true placebo.",
        Shuffle,
        (REWARD,),
    ),
    "noise": Entry(
        "noise(REWARD,ρ0,ρ1)",
        "REWARD with each 0 turned to 1 with probability ρ0, each 1 to 0 with probability ρ1.",
        Noise,
        (REWARD, NUMBER, NUMBER),
    ),
    "all": Entry(
        "all(REWARD,REWARD,…)",
        "The smallest of several rewards (and).",
        lambda *parts: All(parts),
        (REWARDS_,),
    ),
    "not": Entry("not(REWARD)", "1 − REWARD.", Not, (REWARD,)),
    "weighted_sum": Entry(
        '{"weighted_sum": [[w, REWARD], …]}',
        "Σ w · REWARD. In a file.",
        lambda *pairs: WeightedSum(tuple(w for w, _ in pairs), tuple(r for _, r in pairs)),
        (PAIRS,),
    ),
}


def find(name: str) -> Entry:
    """Look a reward up by name; ``file.py:function`` and ``module:function`` are a user's own.

    Raises:
        PlaceboError: there is none of that name, or the user's function cannot be used.
    """
    if user.is_reference(name):
        return Entry(name, "A user's reward.", lambda: user.load(name), informed=True)
    if name not in REWARDS:
        raise PlaceboError(f"unknown reward {name!r}; {suggest(name, REWARDS)}")
    return REWARDS[name]
