"""Is a completion right? Extraction, then equivalence with each gold answer of its problem."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

from rlvr_placebo.core.records import Status, Verification
from rlvr_placebo.verify.canonical import canonical
from rlvr_placebo.verify.equivalence import Ask, Finding, compare, may_be_a_number
from rlvr_placebo.verify.extract import extract_answer, last_boxed
from rlvr_placebo.verify.numbers import read_number
from rlvr_placebo.verify.solver import Solver

# Of the rules, and of the libraries that they end in: all of them decide.
VERSION = "algebra-4, " + ", ".join(
    f"{name} {version(name)}" for name in ("math-verify", "latex2sympy2_extended", "sympy")
)


@cache
def _solver() -> Solver:
    return Solver()


def stop_algebra() -> None:
    """End the worker, whatever it is at; the next question starts another."""
    _solver().close()


def judge(gold: str, answer: str) -> Finding:
    """Judge one answer against one gold, and say how; with algebra where that is needed."""
    return compare(_bare(gold), answer, _solver().item())


def _bare(gold: str) -> str:
    """A gold answer without the box that some sources leave around it."""
    return last_boxed(gold) or gold


def plain_math_verify(gold: str, answer: str) -> bool | None:
    """What ``math-verify`` alone says of a pair; None where it cannot read it."""
    return _solver().plain(gold, answer)


def equivalent(gold: str, answer: str) -> bool | None:
    """Whether two answers are the same; None where no one can tell."""
    return judge(gold, answer).correct


def parsable(answer: str) -> bool:
    """Whether an answer can be compared with others: a number, plain text, or mathematics."""
    text, _ = canonical(answer)
    if read_number(text) is not None or not may_be_a_number(text):
        return True
    return _solver().readable(text)


def verify(text: str, golds: Sequence[str], fallback: str = "none") -> Verification:
    """Judge a completion against the gold answers of its problem; any one of them will do.

    Args:
        text: the completion.
        golds: the answers that count as right.
        fallback: what is taken where no answer is stated; see
            :func:`rlvr_placebo.verify.extract.extract_answer`.

    Returns:
        ``correct`` True or False where that is known, else None with the status that says why.
    """
    return verify_answer(extract_answer(text, fallback), golds, _solver().item())


def verify_at_once(text: str, golds: Sequence[str], fallback: str = "none") -> Verification | None:
    """As :func:`verify`, or None where that takes algebra, and so perhaps seconds."""
    try:
        return verify_answer(extract_answer(text, fallback), golds, _refuse)
    except _TakesAlgebra:
        return None


class _TakesAlgebra(Exception):
    pass


def _refuse(gold: str, answer: str) -> Finding:
    raise _TakesAlgebra(gold, answer)


def verify_answer(answer: str | None, golds: Sequence[str], ask: Ask) -> Verification:
    """Judge an answer that was extracted already; None where there is none."""
    usable = [g for g in golds if canonical(g)[0]]
    if not usable:
        return Verification(None, Status.BAD_GOLD, answer)
    if answer is None:
        return Verification(False, Status.NO_ANSWER, None)
    findings = [compare(_bare(gold), answer, ask) for gold in usable]
    if any(f.correct for f in findings):
        return Verification(True, Status.OK, answer)
    unknown = next((f for f in findings if f.correct is None), None)
    if unknown:
        return Verification(None, unknown.status, answer)
    return Verification(False, Status.OK, answer)
