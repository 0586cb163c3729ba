"""Equivalence that needs algebra: ``math-verify``, and values at random points to check it by.

Runs in a worker that can be killed (:mod:`rlvr_placebo.verify.worker`): SymPy may take for ever, or
all the memory there is. Nothing here has a time limit of its own.
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

from rlvr_placebo.core.records import Status
from rlvr_placebo.verify.numbers import agrees, terminates

DIGITS = 30
FINEST = 1000  # digits to which a difference is computed before it counts as none
CLOSE = sympy.Float("1e-20", DIGITS)
# Values for the letters of two expressions: fixed, so that a judgement is the same every time.
POINTS = ((7, 5, 1), (11, 3, 2), (2, 13, 3), (-3, 7, 5), (-17, 11, 7))

_IMAGINARY = {sympy.Symbol("i", real=real): sympy.I for real in (True, False, None)}
_CONFIG = LatexExtractionConfig(
    boxed_match_priority=0,
    # units are ours to judge: the parser would also take the letters of 2ab for one
    normalization_config=NormalizationConfig(
        basic_latex=True,
        units=False,
        malformed_operators=True,
        nits=True,
        boxed="all",
        equations=False,
    ),
)

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)


def solve(gold: str, answer: str) -> tuple[bool | None, Status, str]:
    """Judge a pair: correct, status, and the rule that decided."""
    gold, answer = _cases_apart(gold, answer)
    left = read(gold)
    if left is None:
        return None, Status.BAD_GOLD, "the gold cannot be read"
    right = read(answer)
    if right is None:
        return False, Status.OK, "the answer cannot be read"
    by_value = same_values(left, right)
    if by_value is not None:
        return by_value, Status.OK, "values"
    same = verify(left, right, allow_set_relation_comp=True, timeout_seconds=0)
    return bool(same), Status.OK, "math-verify"


_PIECES = re.compile(r"\\(?:begin|end)\{[a-z]*\}|\\[A-Za-z]+|[A-Za-z]")
_FREE = "abcdfghjklmnopqrstuvwxyz"  # e and i are numbers


def _cases_apart(gold: str, answer: str) -> tuple[str, str]:
    """Give capitals other names where both cases of a letter occur: the parser knows no case."""
    sides = [set(_PIECES.findall(text)) for text in (gold, answer)]
    both = sides[0] | sides[1]
    if not any(_is_capital(p) and p.lower() in side for side in sides for p in side) and not any(
        p.startswith("\\") and _is_capital(p) and p.lower() in both for p in both
    ):
        return gold, answer
    capitals = sorted(p for p in both if _is_capital(p))
    free = [c for c in _FREE if c not in both and c.upper() not in both]
    if len(free) < len(capitals):
        return gold, answer
    names = dict(zip(capitals, free, strict=False))

    def renamed(text: str) -> str:
        return _PIECES.sub(lambda found: names.get(found[0], found[0]), text)

    return renamed(gold), renamed(answer)


_GREEK = frozenset(
    ["Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"]
)


def _is_capital(piece: str) -> bool:
    return piece.isupper() if len(piece) == 1 else piece[1:] in _GREEK


def plain(gold: str, answer: str) -> bool | None:
    """What ``math-verify`` alone says of a pair as it stands; None where it cannot read one."""
    left, right = (parse(f"${text}$", parsing_timeout=0) for text in (gold, answer))
    if not left or not right:
        return None
    return bool(verify(left, right, timeout_seconds=0))


def read(text: str) -> Any | None:  # noqa: ANN401 (SymPy's own hierarchy, or its matrices)
    """Parse an answer in LaTeX; None where it is no mathematics."""
    found = parse(f"\\boxed{{{text}}}", [_CONFIG], fallback_mode="no_fallback",
                  parsing_timeout=0)  # fmt: skip
    return found[0] if found and not isinstance(found[0], str) else None


def same_values(one: Any, other: Any) -> bool | None:  # noqa: ANN401
    """Compare two expressions by their values at a few points; None where that cannot tell.

    Different at one point is different; the same at all of them, exactly or in as many digits as
    can be had, is the same.
    """
    if not isinstance(one, sympy.Expr) or not isinstance(other, sympy.Expr):
        return None
    one, other = (_exact(e).xreplace(_IMAGINARY) for e in (one, other))
    letters = sorted(one.free_symbols | other.free_symbols, key=str)
    if not letters:
        return _same_constant(one, other)
    if one.free_symbols != other.free_symbols or len(letters) > 6:
        return None
    real = not (one.has(sympy.I) or other.has(sympy.I))
    agreed = 0
    for point in POINTS:
        values = {x: sympy.Rational(point[0] + i * point[2], point[1])
                  for i, x in enumerate(letters)}  # fmt: skip
        a, b = (_value(e.xreplace(values), real) for e in (one, other))
        if a is None or b is None:
            continue
        if not _close(a, b) or not _same_exactly(*(e.xreplace(values) for e in (one, other))):
            return False
        agreed += 1
    return True if agreed >= 3 else None


def _exact(expression: sympy.Expr) -> sympy.Expr:
    """Decimals as the fractions they are."""
    floats = expression.atoms(sympy.Float)
    return (
        expression.xreplace({f: sympy.Rational(str(f)) for f in floats}) if floats else expression
    )


def _same_constant(one: sympy.Expr, other: sympy.Expr) -> bool | None:
    """Compare two numbers; None where one is not finite."""
    a, b = (sympy.N(e, DIGITS) for e in (one, other))
    if not all(v.is_number and v.is_finite for v in (a, b)):
        return None
    if _close(a, b):
        return _same_exactly(one, other)
    if one.is_Rational and other.is_Rational:
        return False
    return _rounded(one, b) or _rounded(other, a)


def _same_exactly(one: sympy.Expr, other: sympy.Expr) -> bool:
    """Tell ``100! + 1`` from ``100!``: rational numbers exactly, others by their difference."""
    one, other = one.doit(), other.doit()
    if one.is_Rational and other.is_Rational:
        return bool(one == other)
    size = abs(sympy.N(one, DIGITS))
    return bool(
        abs(sympy.N(one - other, 10, maxn=FINEST)) <= size * sympy.Float(10) ** (100 - FINEST)
    )


def _rounded(decimal: sympy.Expr, exact: sympy.Expr) -> bool:
    """Whether one is a decimal that agrees to five digits with what has no finite decimal."""
    if not isinstance(decimal, sympy.Rational) or decimal.q == 1:
        return False
    if not terminates(Fraction(int(decimal.p), int(decimal.q))):
        return False
    value = Fraction(int(decimal.p), int(decimal.q))
    decimals = next(k for k in range(400) if 10**k % value.denominator == 0)
    return agrees(value, decimals, float(abs(sympy.N(decimal, DIGITS) - exact)))


def _value(expression: sympy.Expr, real: bool) -> sympy.Expr | None:
    """A finite value, real if asked for, or None."""
    value = sympy.N(expression, DIGITS)
    usable = value.is_number and value.is_finite and (value.is_real or not real)
    return value if usable else None


def _close(a: sympy.Expr, b: sympy.Expr) -> bool:
    size = max(abs(a), abs(b))
    return bool(abs(a - b) <= CLOSE * size) if size else True
