"""Are the labels that should be wrong really wrong? Two independent checkers are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.analysis.labels import read_votes
from rlvr_placebo.verify.judge import plain_math_verify
from rlvr_placebo.verify.numeric import surely_different
from rlvr_placebo.verify.vote import wrong

if TYPE_CHECKING:
    import pyarrow as pa

REALLY_WRONG = 0.995  # share of incorrect labels that each of two checkers must call wrong


def check_incorrect(table: pa.Table) -> dict[str, Any]:
    """Have two independent checkers judge every *incorrect* label against the gold answers.

    They share no code with each other: the first computes the values by a parser of its own
    (:mod:`rlvr_placebo.verify.numeric`), the second is ``math-verify`` as it comes. A label that a
    checker cannot judge does not count as wrong.

    Returns:
        ``labels``, the share that each checker calls ``wrong``, up to ten labels that one of them
        doubts, and ``ok``.
    """
    votes = read_votes(table)
    pairs = [
        (row["golds"], label.raw)
        for row in table.to_pylist()
        for label in wrong(votes[row["problem_id"]])[:1]
    ]
    verdicts = {"values": [_wrong(*pair) for pair in pairs],
                "math-verify": [_wrong_to_math_verify(*pair) for pair in pairs]}  # fmt: skip
    shares = {name: float(np.mean(found)) if found else 0.0 for name, found in verdicts.items()}
    doubted = [
        {"golds": pair[0], "label": pair[1]}
        for pair, *found in zip(pairs, *verdicts.values(), strict=True)
        if not all(found)
    ]
    ok = bool(pairs) and min(shares.values()) >= REALLY_WRONG
    return {"labels": len(pairs), "wrong": shares, "doubted": doubted[:10], "ok": ok}


def _wrong(golds: Sequence[str], answer: str) -> bool:
    return all(surely_different(gold, answer) for gold in golds)


def _wrong_to_math_verify(golds: Sequence[str], answer: str) -> bool:
    """Judge by a library that knows nothing of our rules; what it cannot read stays unjudged."""
    return all(plain_math_verify(gold, answer) is False for gold in golds)
