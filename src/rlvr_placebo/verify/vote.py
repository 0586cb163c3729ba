"""Votes: how often each answer was given, where answers that are the same count as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_placebo.core.records import Vote
from rlvr_placebo.verify.canonical import canonical
from rlvr_placebo.verify.judge import equivalent, parsable


@dataclass(frozen=True)
class Ballot:
    """All votes on one problem.

    Attributes:
        votes: one per class of equal answers, most frequent first; equally frequent ones in the
            order in which they were first given.
        empty: samples without an answer.
        unparsable: samples whose answer cannot be compared with others; they form no class.
        tie: whether the first two classes are equally frequent.
    """

    votes: tuple[Vote, ...]
    empty: int
    unparsable: int
    tie: bool


def count_votes(answers: Sequence[str | None], golds: Sequence[str] = ()) -> Ballot:
    r"""Count answers by class of equivalence: ``1/2``, ``\frac12`` and ``0.5`` are one answer.

    Args:
        answers: as extracted from samples, in their order; None where there was none.
        golds: the problem's known answers, to mark what is right; none, and nothing is marked.
    """
    classes: list[list[str]] = []
    empty = unparsable = 0
    for answer in answers:
        if answer is None or not canonical(answer)[0]:
            empty += 1
        elif not parsable(answer):
            unparsable += 1
        else:
            known = next((c for c in classes if equivalent(_plain(c[0]), _plain(answer))), None)
            known.append(answer) if known is not None else classes.append([answer])
    classes.sort(key=len, reverse=True)  # stable: ties stay in the order of first appearance
    votes = tuple(Vote(canonical(c[0])[0], len(c), _right(c[0], golds), c[0]) for c in classes)
    tie = len(votes) > 1 and votes[0].count == votes[1].count
    return Ballot(votes, empty, unparsable, tie)


def _plain(answer: str) -> str:
    """Without a percent sign: 10 % is both 10 and 0.1, and would join what is not the same."""
    return answer.strip().strip("$").rstrip().removesuffix("%").removesuffix("\\")


def ranked(votes: Sequence[Vote], rank: int) -> Vote | None:
    """The vote of a rank, from 1; None where there are fewer."""
    return votes[rank - 1] if rank <= len(votes) else None


def wrong(votes: Sequence[Vote]) -> list[Vote]:
    """The votes that are known to be wrong, most frequent first."""
    return [v for v in votes if v.correct is False]


def _right(answer: str, golds: Sequence[str]) -> bool | None:
    """Whether an answer is one of the golds; None where there is none, or no one can tell."""
    found = [equivalent(gold, answer) for gold in golds if canonical(gold)[0]]
    if any(found):
        return True
    return None if None in found or not found else False
