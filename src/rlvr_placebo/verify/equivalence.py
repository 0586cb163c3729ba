"""Are two answers the same? Exact for numbers and equal text; anything else is left unknown.

Equivalence that needs algebra is not decided here: it is reported as unknown (``ERROR``), which
evaluation shows as a bound, and never as wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from rlvr_placebo.core.records import Status, Verification
from rlvr_placebo.verify.extract import extract_answer

VERSION = "exact-2"

_DIGITS = r"[0-9]{1,400}"
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3}){1,100}(?:\.[0-9]{1,400})?")
_SPACED_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:\s[0-9]{3}){1,100}(?:\.[0-9]{1,400})?")
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.[0-9]{{0,400}})?|\.{_DIGITS})")
_RATIO = re.compile(rf"([+-]?{_DIGITS})\s*/\s*({_DIGITS})")
_FRAC = re.compile(rf"([+-]?)\\[dt]?frac\{{({_DIGITS})\}}\{{({_DIGITS})\}}")


_MINUS = str.maketrans(dict.fromkeys("\u2212\u2013\ufe63\uff0d", "-"))


def normalize(answer: str) -> str:
    """Remove what carries no meaning: dollar signs, spaces at the ends, a final full stop.

    Typographic minus signs become ``-``.
    """
    return answer.translate(_MINUS).strip().strip("$").strip().removesuffix(".").strip()


def as_number(answer: str) -> Fraction | None:
    r"""Read an integer, a decimal, ``a/b`` or ``\frac{a}{b}`` exactly; None for anything else."""
    text = normalize(answer)
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif _SPACED_THOUSANDS.fullmatch(text):
        text = re.sub(r"\s", "", text)
    if _NUMBER.fullmatch(text):
        return Fraction(text.removesuffix("."))
    if match := _RATIO.fullmatch(text):
        sign, top, bottom = "", match[1], match[2]
    elif match := _FRAC.fullmatch(text):
        sign, top, bottom = match[1], match[2], match[3]
    else:
        return None
    if int(bottom) == 0:
        return None
    value = Fraction(int(top), int(bottom))
    return -value if sign == "-" else value


_MARKS_OF_ALGEBRA = set("+-*/^\\(){}[]%=√π°:,;|€£¥~≈±×÷·")
_WITH_UNIT = re.compile(r"[+-]?[0-9][0-9.,/]*\s*[^\W\d_][^\d]*")
_ROMAN = re.compile(r"[IVXLCDM]+")
_NUMBER_WORDS = frozenset(
    word
    for line in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
        "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy",
        "eighty ninety hundred thousand million half quarter third none dozen twice",
    )
    for word in line.split()
)


def _may_be_a_number(text: str) -> bool:
    """Whether a text that is no plain number could still stand for one.

    Algebra, a unit, a number word, other digits than 0 to 9 may; ``12 3``, ``x12`` and ``1-`` (an
    operator without its right side) cannot, and are wrong beside a numeric gold.
    """
    if text and text[-1] in "+-*/^=(:,;":
        return False
    words = re.findall(r"[a-z]+", text.lower())
    return (
        bool(_MARKS_OF_ALGEBRA & set(text))
        or bool(_WITH_UNIT.fullmatch(text))
        or bool(_ROMAN.fullmatch(text))
        or not _NUMBER_WORDS.isdisjoint(words)
        or any(c.isnumeric() and not c.isascii() for c in text)
    )


def parsable(answer: str) -> bool:
    """Whether an answer can be compared with others: a number, or plain text without algebra."""
    return as_number(answer) is not None or not _may_be_a_number(normalize(answer))


def equivalent(gold: str, answer: str) -> bool | None:
    """Whether two answers are the same; None where it would take algebra to tell."""
    if normalize(gold) == normalize(answer):
        return True
    left, right = as_number(gold), as_number(answer)
    if left is not None and right is None and not _may_be_a_number(normalize(answer)):
        return False
    if left is None or right is None:
        return None
    return left == right


def verify(text: str, golds: Sequence[str]) -> Verification:
    """Judge a completion against the gold answers of its problem; any one of them will do.

    Args:
        text: the completion.
        golds: the answers that count as right.

    Returns:
        ``correct`` True or False where that is known, else None with the status that says why.
    """
    usable = [g for g in golds if normalize(g)]
    answer = extract_answer(text)
    if not usable:
        return Verification(None, Status.BAD_GOLD, answer)
    if answer is None:
        return Verification(False, Status.NO_ANSWER, None)
    results = [equivalent(gold, answer) for gold in usable]
    if any(results):
        return Verification(True, Status.OK, answer)
    if None in results:
        return Verification(None, Status.ERROR, answer)
    return Verification(False, Status.OK, answer)
