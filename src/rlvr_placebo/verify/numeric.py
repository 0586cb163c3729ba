r"""A second, independent judge: read an answer as arithmetic and compare values.

It shares nothing with :mod:`rlvr_placebo.verify.equivalence`: a small recursive-descent parser that
evaluates numbers, ``+ - * / ^``, brackets, ``\frac``, ``\sqrt`` and ``\pi`` to a float. What it
cannot read has no value. Linear in the length of the text; powers are bounded, so it always ends.
"""

from __future__ import annotations

import math
import re

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)"
    r"|(?P<name>\\[dt]?frac|\\sqrt|\\pi|π|\\cdot|\\times|\\div|\\left|\\right|√)|(?P<sign>[-+*/^(){}×÷·%−]))"
)  # fmt: skip
_SAME = {"×": "*", "·": "*", "\\cdot": "*", "\\times": "*", "÷": "/", "\\div": "/", "−": "-"}
LONGEST = 200


class _Unreadable(Exception):
    """The text is no arithmetic."""


def value_of(text: str) -> float | None:
    r"""The value of an answer, or None where it is not plain arithmetic.

    Example: ``value_of(r"\frac{3}{2} + \sqrt{4}")`` is 3.5.
    """
    try:
        tokens = _tokens(text.strip().strip("$").strip())
        parser = _Parser(tokens)
        value = parser.sum()
        if parser.place != len(tokens):
            return None
    except (_Unreadable, ZeroDivisionError, OverflowError, ValueError, RecursionError):
        return None
    return value if math.isfinite(value) else None


def surely_different(one: str, other: str) -> bool:
    """Whether both answers have values, and these differ by more than rounding."""
    a, b = value_of(one), value_of(other)
    return a is not None and b is not None and not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def _tokens(text: str) -> list[str]:
    if len(text) > LONGEST:
        raise _Unreadable
    tokens, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _Unreadable
        token = match[match.lastgroup or 0].strip()
        if token not in ("\\left", "\\right"):
            tokens.append(_SAME.get(token, token))
        place = match.end()
    return tokens


class _Parser:
    """Evaluates tokens from left to right; each method reads one level of precedence."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.place = tokens, 0

    def _peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise _Unreadable
        self.place += 1
        return token

    def sum(self) -> float:
        """Terms with + and − between them."""
        value = self._product()
        while self._peek() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> float:
        value = self._signed()
        while self._peek() in ("*", "/"):
            value = value * self._signed() if self._take() == "*" else value / self._signed()
        return value

    def _signed(self) -> float:
        if self._peek() in ("+", "-"):
            return -self._signed() if self._take() == "-" else self._signed()
        return self._power()

    def _power(self) -> float:
        base = self._atom()
        while self._peek() == "%":
            self._take()
            base /= 100
        if self._peek() != "^":
            return base
        self._take()
        result = base ** self._signed()
        if isinstance(result, complex):
            raise _Unreadable
        return result

    def _atom(self) -> float:
        token = self._take()
        if token[0].isdigit() or token[0] == ".":
            return float(token.replace(",", ""))
        if token in ("\\pi", "π"):
            return math.pi
        if token in ("\\sqrt", "√"):
            return math.sqrt(self._atom())
        if token.endswith("frac"):
            return self._digit_or_group() / self._digit_or_group()
        if token in ("(", "{"):
            value = self.sum()
            self._take(")" if token == "(" else "}")
            return value
        raise _Unreadable

    def _digit_or_group(self) -> float:
        r"""An argument of ``\frac``: a group, or the next digit alone (``\frac12``)."""
        token = self._peek()
        if token.isdigit() and len(token) > 1:
            self.tokens[self.place : self.place + 1] = [token[0], token[1:]]
        return self._atom()
