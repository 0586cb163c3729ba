r"""Numbers as they are written: integers, decimals, ratios, fractions, percent, powers of ten."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

_DIGITS = r"[0-9]{1,400}"
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){1,100}(?:\.[0-9]{0,400})?")
_SPACED_THOUSANDS = re.compile(r"[0-9]{1,3}(?: [0-9]{3}){1,100}(?:\.[0-9]{1,400})?")
_PLAIN = re.compile(rf"{_DIGITS}(?:\.[0-9]{{0,400}})?|\.{_DIGITS}")
_RATIO = re.compile(rf"({_DIGITS}) ?[/:] ?({_DIGITS})")
_FRAC = re.compile(rf"\\frac\{{ ?(-?) ?({_DIGITS}) ?\}}\{{ ?(-?) ?({_DIGITS}) ?\}}")
_MIXED = re.compile(
    rf"({_DIGITS}) ?(?:\\frac\{{({_DIGITS})\}}\{{({_DIGITS})\}}|(?<= )({_DIGITS})/({_DIGITS}))"
)
_SCIENTIFIC = re.compile(
    r"([0-9]{1,400}(?:\.[0-9]{0,400})?) ?(?:\\times|\\cdot|\*|x) ?10 ?\^ ?\{?(-?[0-9]{1,3})\}?"
    r"|([0-9]{1,400}(?:\.[0-9]{0,400})?)[eE]([+-]?[0-9]{1,3})"
)
_RECURRING = re.compile(r"([0-9]{0,40})\.([0-9]{0,40})\\(?:overline|bar|dot)\{([0-9]{1,40})\}")
_NAMED = re.compile(r"(.{1,40}?) ?(hundred|thousand|million|billion|trillion|dozen)s?")
_NAMES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9,
          "trillion": 10**12, "dozen": 12}  # fmt: skip
_BASED = re.compile(r"([0-9A-Z]{1,400}) ?_ ?(?:\{ ?([0-9]{1,2}) ?\}|([0-9]))")
_WORDS: dict[str, int] = {
    str(word): number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}
_CLOCK = re.compile(r"(?:[01]?[0-9]|2[0-4]):[0-5][0-9]")
AGREEMENT = Fraction(1, 10**5)  # to five significant digits


@dataclass(frozen=True)
class Number:
    """An exact value, and how it was written.

    Attributes:
        value: exact.
        decimals: places behind the decimal point.
        percent: written with a percent sign; ``value`` is what stands before it.
        clock: written as a time of day may be; it could be a ratio too.
        colon: written with a colon, as a ratio or a time.
    """

    value: Fraction
    decimals: int
    percent: bool
    clock: str = ""
    colon: bool = False


def read_number(text: str) -> Number | None:
    r"""Read a number in canonical spelling, or None.

    Example: ``read_number(r"2\frac{1}{2}")`` has the value 5/2.
    """
    percent = text.endswith("%")
    body = text[:-1].rstrip() if percent else text
    sign, body = _sign(body)
    value = _value(body)
    if value is None:
        return None
    clock = body if _CLOCK.fullmatch(body) else ""
    behind = body.partition(".")[2]
    decimals = next((i for i, c in enumerate(behind) if not c.isdigit()), len(behind))
    return Number(sign * value, decimals, percent, clock, ":" in body)


def _sign(text: str) -> tuple[int, str]:
    if text[:1] == "-":
        return -1, text[1:].lstrip()
    return 1, text[1:].lstrip() if text[:1] == "+" else text


def _value(text: str) -> Fraction | None:
    """The value of a number without its sign."""
    if _PLAIN.fullmatch(text):
        return Fraction(text.removesuffix("."))
    if _THOUSANDS.fullmatch(text) or _SPACED_THOUSANDS.fullmatch(text):
        return Fraction(re.sub(r"[, ]", "", text).removesuffix("."))
    if match := _RATIO.fullmatch(text):
        return _over(int(match[1]), int(match[2]))
    if match := _FRAC.fullmatch(text):
        sign = -1 if (match[1] == "-") != (match[3] == "-") else 1
        return _over(sign * int(match[2]), int(match[4]))
    if match := _RECURRING.fullmatch(text):
        whole, first, again = match[1] or "0", match[2], match[3]
        scale = 10 ** len(first)
        part = Fraction(int(again), scale * (10 ** len(again) - 1))
        return Fraction(f"{whole}.{first or 0}") + part
    if match := _MIXED.fullmatch(text):
        part = _over(int(match[2] or match[4]), int(match[3] or match[5]))
        return None if part is None else int(match[1]) + part
    if match := _SCIENTIFIC.fullmatch(text):
        return Fraction(match[1] or match[3]) * Fraction(10) ** int(match[2] or match[4])
    if text.lower() in _WORDS:
        return Fraction(_WORDS[text.lower()])
    if match := _NAMED.fullmatch(text):
        first = _value(match[1])
        return None if first is None else first * _NAMES[match[2]]
    return None


def _over(top: int, bottom: int) -> Fraction | None:
    return Fraction(top, bottom) if bottom else None


def same_number(one: Number, other: Number) -> bool:
    """Whether two numbers are the same.

    A percent sign may stand for a hundredth or, from 1 on, for a mere unit (10 % is both 0.1 and
    10; 0.5 % is not 0.5). A decimal stands for a number that has no finite decimal if they agree to
    five digits. What may be a time of day is the same time, or a ratio with the same value, but no
    fraction.
    """
    if one.clock or other.clock:
        if one.clock and other.clock:
            return one.clock.lstrip("0") == other.clock.lstrip("0")
        return one.colon and other.colon and one.value == other.value
    if one.percent != other.percent:
        percent, plain = (one, other) if one.percent else (other, one)
        if plain.value == percent.value / 100:
            return True
        unit = abs(percent.value) >= 1 or percent.value == 0
        return unit and (plain.value == percent.value or _rounded(percent, plain))
    return one.value == other.value or _rounded(one, other)


def _rounded(one: Number, other: Number) -> bool:
    if bool(one.decimals) == bool(other.decimals):
        return False
    decimal, exact = (one, other.value) if one.decimals else (other, one.value)
    difference = abs(decimal.value - exact)
    return not terminates(exact) and agrees(decimal.value, decimal.decimals, difference)


def agrees(decimal: Fraction, decimals: int, difference: float | Fraction) -> bool:
    """Whether a decimal is what is left of a longer one: right to its last place, five digits."""
    return difference < Fraction(1, 10**decimals) and difference <= AGREEMENT * abs(decimal)


def terminates(value: Fraction) -> bool:
    """Whether a number has a finite decimal: no primes but 2 and 5 divide its denominator."""
    rest = value.denominator
    while (common := gcd(rest, 10)) > 1:
        rest //= common
    return rest == 1


def in_base(text: str) -> tuple[str, int | None] | None:
    r"""Digits and base of ``2516_8`` or ``24_{10}``; plain digits have no base."""
    if match := _BASED.fullmatch(text):
        return match[1].lstrip("0") or "0", int(match[2] or match[3])
    if re.fullmatch(r"[0-9A-Z]{1,400}", text):
        return text.lstrip("0") or "0", None
    return None


def same_in_base(one: str, other: str) -> bool | None:
    """Compare where at least one is written in a base; None where neither is.

    Where one has no base, it is taken to be written in the other's.
    """
    a, b = in_base(one), in_base(other)
    if a is None or b is None or (a[1] is None and b[1] is None):
        return None
    if a[1] is None or b[1] is None or a[1] == b[1]:
        return a[0] == b[0]
    try:
        return int(a[0], a[1]) == int(b[0], b[1])
    except ValueError:
        return None
