"""Are two answers the same? What needs no algebra is decided here; the rest is asked of a solver.

Three-valued: True, False, or None where no one can tell. The rules are tried from the cheapest on,
and the one that decided is named in the finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rlvr_placebo.core.records import Status
from rlvr_placebo.verify.canonical import LONGEST, canonical
from rlvr_placebo.verify.numbers import read_number, same_in_base, same_number
from rlvr_placebo.verify.structure import (
    DEEPEST,
    Collection,
    collection_of,
    row_of,
    split,
    unwrapped,
)


@dataclass(frozen=True)
class Finding:
    """What was found of two answers, and how.

    Example: ``Finding(True, Status.OK, "numbers")``. ``correct`` is None where no one can tell;
    the status then says why.
    """

    correct: bool | None
    status: Status
    rule: str


Ask = Callable[[str, str], Finding]  # (gold, answer), in canonical spelling


def unsolved(gold: str, answer: str) -> Finding:
    """Stand in for a solver where there is none: what needs algebra stays unknown."""
    return Finding(None, Status.ERROR, "needs algebra")


def compare(gold: str, answer: str, solver: Ask = unsolved) -> Finding:
    """Judge one answer against one gold.

    Args:
        gold: the right answer, as its source has it.
        answer: the given one, as it was extracted.
        solver: asked where algebra is needed.
    """
    if len(gold) > LONGEST:
        return Finding(None, Status.BAD_GOLD, "the gold is too long")
    if not _balanced(gold):
        return Finding(None, Status.BAD_GOLD, "the braces of the gold do not balance")
    if len(answer) > LONGEST:
        return _found(correct=False, rule="too long for an answer")
    if not _balanced(answer):
        return _found(correct=False, rule="the braces do not balance")
    (left, unit), (right, other) = canonical(gold), canonical(answer)
    if not left:
        return Finding(None, Status.BAD_GOLD, "the gold is empty")
    if unit and other and unit != other:
        return _found(correct=left + unit == right + other, rule="units")
    return _same(left, right, solver, depth=0)


def _balanced(text: str) -> bool:
    """Whether every brace is closed, and none stands too deep for an answer."""
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*[{}]", text):
        depth += 1 if brace.endswith("{") else -1
        if not 0 <= depth <= DEEPEST:
            return False
    return depth == 0


def _found(*, correct: bool, rule: str) -> Finding:
    return Finding(correct, Status.OK, rule)


def _same(gold: str, answer: str, solver: Ask, depth: int) -> Finding:
    """Judge two texts in canonical spelling."""
    for rule in (_text, _numbers, _words):
        if finding := rule(gold, answer):
            return finding
    for rule in (_names, _parts):
        if finding := rule(gold, answer, solver, depth):
            return finding
    return solver(gold, answer)


def _text(gold: str, answer: str) -> Finding | None:
    """The same text, but for case in words; a list that goes on ("…") is compared as text alone."""
    if not answer:
        return _found(correct=False, rule="text")
    if _squeezed(gold) == _squeezed(answer):
        return _found(correct=True, rule="text")
    if "\\ldots" in gold or "\\ldots" in answer:
        return _found(correct=False, rule="text")
    return None


def _squeezed(text: str) -> str:
    """Without blanks that separate nothing."""
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", unwrapped(text))


def _numbers(gold: str, answer: str) -> Finding | None:
    """Two numbers; or a number beside what cannot be one."""
    gold, answer = unwrapped(gold), unwrapped(answer)
    one, other = read_number(gold), read_number(answer)
    if one and other:
        return _found(correct=same_number(one, other), rule="numbers")
    if (based := same_in_base(gold, answer)) is not None:
        return _found(correct=based, rule="numbers")
    if one and not may_be_a_number(answer):
        return _found(correct=False, rule="no number")
    if _is_clock(gold) or _is_clock(answer):
        return _found(correct=False, rule="text")
    return None


def _is_clock(text: str) -> bool:
    return (
        re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?: ?[aApP]\.?[mM]\.?)?", text) is not None
    )


_MARKS_OF_ALGEBRA = set("+-*/^\\(){}[]%=:,;|_!<>~")
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


def may_be_a_number(text: str) -> bool:
    """Whether a text that is no plain number could still stand for one.

    Algebra, a single letter, a number word or other digits than 0 to 9 may; ``12 3``, ``x12`` and
    ``1-`` (an operator without its right side) cannot.
    """
    if text and text[-1] in "+-*/^=(:,;":
        return False
    words = re.findall(r"[a-z]+", text.lower())
    return (
        bool(_MARKS_OF_ALGEBRA & set(text))
        or re.fullmatch(r"[0-9.]+ ?[A-Za-z]{1,3}", text) is not None
        or bool(_ROMAN.fullmatch(text))
        or not _NUMBER_WORDS.isdisjoint(words)
        or any(c.isnumeric() and not c.isascii() for c in text)
    )


_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|['. -])*")
_SHORT = frozenset({"yes", "no", "odd", "all", "one", "two", "six", "ten", "red", "none", "true"})
_LETTERS = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "sigma", "phi",
     "omega", "tau", "rho", "infinity"}
)  # fmt: skip


def _words(gold: str, answer: str) -> Finding | None:
    """Words against anything: the same words, whatever their case."""
    if _CHOICE.fullmatch(gold) and answer[:1].isalpha() and _CHOSEN.fullmatch(answer):
        return _choice(gold, answer)
    one, other = _as_words(gold), _as_words(answer)
    if one and other:
        return _found(correct=one == other, rule="words")
    if one or (other and not _NUMBER_WORDS & set(other.split())):
        return _found(correct=False, rule="words")
    return _choice(gold, answer)


def _choice(gold: str, answer: str) -> Finding | None:
    """One of several answers, by its letter."""
    choice, chosen = _CHOICE.fullmatch(gold), _CHOSEN.fullmatch(answer)
    if choice and chosen and (choice[1].isupper() or chosen[1].isupper()):
        return _found(correct=choice[1].upper() == chosen[1].upper(), rule="choice")
    return None


_CHOICE = re.compile(r"\(?([A-Ja-j])[).:]?")
_CHOSEN = re.compile(  # by its letter, perhaps with what stands there
    r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer) )?\(?([A-Ja-j])[).:]?(?:(?<=[).:]) ?\S.*)?"
)


def _as_words(text: str) -> str:
    """The words of a text that is nothing but words, in lower case; else nothing."""
    text = unwrapped(text).strip()
    if not _WORDS.fullmatch(text):
        return ""
    words = re.findall(r"(?:[^\W\d_]|')+", text.lower())
    plain = [w for w in words if w not in ("the", "a", "an")] or words
    if any((len(w) > 3 or w in _SHORT) and w not in _LETTERS for w in plain):
        return " ".join(plain)
    proper = re.fullmatch(r"[A-Z][a-z]{1,2}", text)
    return text.lower() if proper else ""


_ATOM = (
    r"\|?(?:m? ?\\(?:angle|triangle|overline|overrightarrow|vec|hat|bar|measuredangle) ?)?"
    r"\{?\\?[A-Za-z]+\}?(?:_\{?[A-Za-z0-9]+\}?)?'{0,2}"
    r"(?: ?\([A-Za-z0-9.]+(?:, ?[A-Za-z0-9.]+)*\))?\|?"
)
_NAME = re.compile(rf"\([A-Za-z](?:, ?[A-Za-z])+\)|{_ATOM}")
_SUM = re.compile(rf"{_ATOM}(?: ?\+ ?{_ATOM})*")


def _names(gold: str, answer: str, solver: Ask, depth: int) -> Finding | None:
    r"""``x = 5`` is 5, and ``x = 5`` again, but not ``y = 5``; ``x \in S`` is S."""
    if depth >= 8:
        return None
    (name, value), (other, given) = _named(gold), _named(answer)
    if name and other and name != other:
        return None if _equations(gold, answer) else _found(correct=False, rule="names")
    if "=" in answer and "=" not in gold and not other:
        return _chain(gold, answer, solver, depth)
    if (name and not other and "=" in answer) or (other and not name and "=" in gold):
        return None
    if _CHOICE.fullmatch(gold) and "(" in gold and other:
        return _found(correct=False, rule="choice")
    return _same(value, given, solver, depth + 1) if name or other else None


def _chain(gold: str, answer: str, solver: Ask, depth: int) -> Finding | None:
    """``m + n = 800 + 9 = 809`` is 809: all that is said to be equal must be, but for a name."""
    parts = [part for part in split(answer, "=") if part]
    if len(parts) < 2 or len(parts) > 6 or _relations(answer, answer) or "," in answer:
        return None
    ends = [i for i in (0, len(parts) - 1) if _SUM.fullmatch(parts[i])]
    values = [part for i, part in enumerate(parts) if i not in ends[:1]]
    return _all((_same(gold, value, solver, depth + 1) for value in values), "equation")


def _equations(gold: str, answer: str) -> bool:
    """Whether both say more than a name and a value: perhaps solved for another letter."""
    return all(re.search(r"[A-Za-z]", _named(text)[1]) for text in (gold, answer))


def _named(text: str) -> tuple[str, str]:
    """Name and value of ``x = 5``; no name where there is none, or more than one sign."""
    parts = split(text, "=") if "=" in text else re.split(r"\\in(?![A-Za-z])", text)
    if len(parts) != 2 or not _NAME.fullmatch(parts[0].strip()) or not parts[1]:
        return "", text
    return re.sub(r"[{} ]", "", parts[0]), parts[1].strip()


def _parts(gold: str, answer: str, solver: Ask, depth: int) -> Finding | None:
    """Lists, tuples, intervals, sets and matrices: part by part."""
    one, other = collection_of(gold), collection_of(answer)
    if (one is None and other is None) or depth > 6:
        return None
    one, other = one or Collection("list", (gold,)), other or Collection("list", (answer,))
    if "matrix" in (one.kind, other.kind) and one.kind != other.kind:
        return None
    loose = {one.kind, other.kind} <= {"set", "list", "union"}
    if len(one.items) != len(other.items) or not (one.kind == other.kind or loose):
        return None if _relations(gold, answer) else _found(correct=False, rule=_rule(one))
    if one.kind == "matrix":
        rows = (
            _each(row_of(a).items, row_of(b).items, solver, depth)
            for a, b in zip(one.items, other.items, strict=True)
        )
        return _all(rows, _rule(one))
    if one.ordered:
        return _each(one.items, other.items, solver, depth, _rule(one))
    return _in_any_order(one, other, solver, depth)


def _rule(collection: Collection) -> str:
    kind = collection.kind
    return kind if kind in ("list", "set", "union", "matrix") else "tuple"


def _relations(gold: str, answer: str) -> bool:
    """Whether one is an inequality, which may say the same as an interval."""
    marks = ("<", ">", "\\leq", "\\geq", "\\neq", "\\setminus")
    return any(mark in text for text in (gold, answer) for mark in marks)


def _each(
    golds: Sequence[str], answers: Sequence[str], solver: Ask, depth: int, rule: str = "tuple"
) -> Finding:
    if len(golds) != len(answers):
        return _found(correct=False, rule=rule)
    pairs = zip(golds, answers, strict=True)
    return _all((_same(a, b, solver, depth + 1) for a, b in pairs), rule)


def _all(findings: Iterable[Finding], rule: str) -> Finding:
    """All must be right: False if one is wrong, else unknown if one is unknown."""
    unknown: Finding | None = None
    for finding in findings:
        if finding.correct is False:
            return Finding(False, finding.status, rule)
        if finding.correct is None:
            unknown = unknown or finding
    return Finding(None, unknown.status, rule) if unknown else _found(correct=True, rule=rule)


def _in_any_order(one: Collection, other: Collection, solver: Ask, depth: int) -> Finding:
    """Every part of one has its own in the other."""
    left = list(other.items)
    if len(left) > 50:
        return Finding(None, Status.ERROR, "too many parts")
    unknown: Finding | None = None
    for item in one.items:
        findings = [_same(item, given, solver, depth + 1) for given in left]
        match = next((i for i, f in enumerate(findings) if f.correct), None)
        if match is not None:
            left.pop(match)
            continue
        doubt = next((f for f in findings if f.correct is None), None)
        if doubt is None:
            return _found(correct=False, rule=_rule(one))
        unknown = unknown or doubt
    if unknown:
        return Finding(None, unknown.status, _rule(one))
    return _found(correct=True, rule=_rule(one))
