r"""One way of writing an answer: LaTeX's many spellings of the same thing become one.

Only spelling: ``\dfrac12`` and ``\frac{1}{2}`` come out alike, ``1/2`` and ``0.5`` do not. Every
pattern is linear in the length of the text.
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 4000  # characters; no answer is longer

_CHARACTERS = str.maketrans(
    {
        "\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-", "\u00d7": "\\times ",
        "\u00b7": "\\cdot ", "\u00f7": "/", "\u03c0": "\\pi ", "\u221e": "\\infty ",
        "\u2264": "\\leq ", "\u2265": "\\geq ", "\u2260": "\\neq ", "\u222a": "\\cup ",
        "\u2208": "\\in ", "\u00b1": "\\pm ", "\u00b0": "^\\circ ",
        "\u00b2": "^{2}", "\u00b3": "^{3}",
        "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\uff0c": ",", "\u2026": "\\ldots ",
        "\u03b8": "\\theta ", "\u2205": "\\emptyset ", "\u211d": "(-\\infty,\\infty)",
        "\u00bd": "\\frac{1}{2}", "\u00bc": "\\frac{1}{4}",
        "\u00be": "\\frac{3}{4}", "\u2248": "\\approx ", "\u00a2": " cents ",
    }
)  # fmt: skip

_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
          "ten": 10, "eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip

# In this order; each is a spelling and what it becomes.
_SPELLINGS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"\\!\s*", ""),
        (r"^\s*(?:=|\\approx(?![A-Za-z]))\s*", ""),
        (r"\u221a\s*([0-9]+|[A-Za-z])", r"\\sqrt{\1}"),
        (r"\u221a\s*(?=[({])", r"\\sqrt"),
        (r"(?<![\\A-Za-z])sqrt\s*([0-9]+)", r"\\sqrt{\1}"),
        (
            r"_\s*\{\s*(?:\\(?:text|mathrm|mbox)\s*\{)?\s*(" + "|".join(_BASES) + r")\s*\}?\s*\}",
            lambda found: f"_{{{_BASES[found[1]]}}}",
        ),
        (r"_\s*\{\s*\(([0-9]{1,2})\)\s*\}", r"_{\1}"),
        (
            r"(?<=[0-9])\s*(?:\\text\s*\{)?\s*\(?\s*(?:in )?base[ -]?([0-9]{1,2})\s*\)?\s*\}?\s*$",
            r"_{\1}",
        ),
        (r"(?<=[0-9])\s*(?:\\text\s*\{\s*to\s*\}|\sto\s)\s*(?=[0-9])", ":"),
        (r"\s*\\[pb]mod\s*(?:\{\s*\w{1,9}\s*\}|\w{1,9})\s*$", ""),
        (r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])", ""),
        (
            r"\\(?:displaystyle|textstyle|limits|nolimits|quad|qquad|hspace\{[^{}]*\})(?![A-Za-z])",
            " ",
        ),
        (r"(?<!\\)\\[,;:> \n]|~", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\dbinom|\\tbinom", r"\\binom"),
        (r"\\(?:le|leqslant)(?![A-Za-z])", r"\\leq"),
        (r"\\(?:ge|geqslant)(?![A-Za-z])", r"\\geq"),
        (r"\\ne(?![A-Za-z])", r"\\neq"),
        (r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset"),
        (r"\\mathbb\{R\}|\\R(?![A-Za-z])", r"(-\\infty,\\infty)"),
        (r"<=", r"\\leq "),
        (r">=", r"\\geq "),
        (r"\\(?:l?dots|cdots|dotsc|dotsb)(?![A-Za-z])|\.\.\.", r"\\ldots "),
        (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])", ""),
        (r"\\[$]|[$]|€|£", ""),
        (r"\\%", "%"),
        (r"\\(?:pounds|euro)(?![A-Za-z])", ""),
        (r"(?:\\(?:text|mbox|textrm)\{\s*,?\s*(?:and|or|AND|OR)\s*,?\s*\}|,?\s(?:and|or)\s)", ", "),
        (r"\*\*", "^"),
        (r"\)\s*(?=\()", r")\\cdot "),
        (r"(?<![\\A-Za-z])(sqrt|pi|infty|ln|log|sin|cos|tan|cot|csc)(?![A-Za-z])", r"\\\1"),
        (r"(?<![\\A-Za-z])(?:inf|infinity)(?![A-Za-z])", r"\\infty"),
        (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\sqrt\s*([0-9A-Za-z])", r"\\sqrt{\1}"),
        (r"\\frac\s*([0-9A-Za-z])\s*([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*([0-9A-Za-z])\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])", r"\1{\2}"),
        (r"([_^])\s*([0-9A-Za-z])(?![0-9A-Za-z{])", r"\1{\2}"),
        (r",(?:\s*,)+", ","),
        (r"(?<!\\)\{([0-9]{1,3}),([0-9]{3})(?:,([0-9]{3}))?\}", r"{\1\2\3}"),
        (r"\s+", " "),
        (r"(?<=[({\[]) | (?=[)}\],])", ""),
        (r"(\\frac|\\sqrt) (?=[{\[])", r"\1"),
        (r"\} \{", "}{"),
    )
)
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mbox|math(?:rm|bf|it|sf)|operatorname|emph)"
    r"\s*\{([^{}]*)\}"
)
_UNIT = re.compile(
    r"(?<=[0-9A-Za-z}).%!])\s*\\(?:text|mbox|mathrm|textrm)\s*"
    r"\{(?P<latex>[^{}0-9]*(?:\^\{?[23]\}?)?)\}(?P<power>\s*\^\s*\{?[23]\}?)?\s*$"
    r"|(?<=[0-9}])(?P<plain>(?:\s*(?:cm|mm|km|kg|ft|in|lb|oz|yd|hr|ml|mph|am|pm)| [msglh]|"
    r"\s+[A-Za-z]{3,})"
    r"(?:[ /][A-Za-z.]+)*(?:\s*\^\{?[23]\}?)?)\s*$",
    re.IGNORECASE,
)
_LONE = re.compile(r"\s*[A-Za-z]\s*")  # a letter by itself: a unit behind digits, else a variable
_DIGITS = re.compile(r"[-+]?[0-9][0-9., /]*")
_CURRENCY = re.compile(r"(?P<dollar>\\\$|^\s*\$[^$]*$)|(?P<euro>€|\\euro)|(?P<pound>£|\\pounds)")
_ANGLE = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_DEGREES = re.compile(  # of an angle: what stands there is no unit
    r"([0-9]+(?:\.[0-9]+)?)\s*(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree)(?![A-Za-z])"
)
_DEGREE = re.compile(r"(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree)[\s.$)}]*$")
# Words behind a number that change it, or go on with it: no units.
_NO_UNITS = re.compile(
    r"\s*(?:and|or|hundred|thousand|million|billion|trillion|dozen|half|halves|third|quarter|fourth"
    r"|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|plus|minus|times|divided|over|by"
    r"|squared|cubed|less|more|than|not|mod|factorial|choose|percentage points|score|ten|gross"
    r"|doubled?|tripled?|twice|wrong|false|incorrect|undefined|remainder"
    r"|(?:eleven|twelf|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twentie|thirtie"
    r"|fortie|fiftie|sixtie|seventie|eightie|ninetie|million|billion|trillion)th)s?\b",
    re.IGNORECASE,
)
# Units that are cut off behind a letter too, where other words might go on with a formula.
_KNOWN = frozenset(
    word
    for line in (
        "cm mm m km in inch inches ft foot feet yd yard yards mi mile miles meter meters metre",
        "metres centimeter centimeters centimetre centimetres kilometer kilometers millimeter",
        "millimeters square cubic sq cu unit units second seconds sec s minute minutes min hour",
        "hours hr h day days week weeks month months year years degree degrees radian radians rad",
        "dollar dollars cent cents percent kg g gram grams kilogram kilograms pound pounds lb lbs",
        "ounce ounces oz liter liters litre litres ml l gallon gallons mph per",
    )
    for word in line.split()
)
_UNITS = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "millimeter": "mm",
    "kilometer": "km", "inche": "inch", "in": "inch", "foot": "foot", "feet": "foot", "ft": "foot",
    "sec": "second", "s": "second", "min": "minute", "hr": "hour", "h": "hour", "sq": "square",
    "gram": "g", "kilogram": "kg", "liter": "l", "litre": "l", "rad": "radian", "percent": "%",
}  # fmt: skip


def strip_wrapping(text: str) -> str:
    r"""Remove what surrounds a formula in a text: dollars, ``\(…\)``, ``\[…\]``, a full stop."""
    while True:
        before = text
        text = text.strip().strip("$").strip()
        text = text[:-1] if text.endswith((".", ",", ";")) else text
        for left, right in (("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`")):
            if text.startswith(left) and text.endswith(right) and len(text) >= 2 * len(left) + 1:
                text = text[len(left) : -len(right)]
        if text == before:
            return text


def canonical(answer: str) -> tuple[str, str]:
    r"""An answer in one spelling, and the unit behind it (empty where there is none).

    Example: ``canonical(r"$\dfrac12 \text{ cm}$")`` is ``(r"\frac{1}{2}", "cm")``.
    """
    return _canonical(answer) if len(answer) <= LONGEST else (answer.strip(), "")


@lru_cache(maxsize=1 << 16)
def _canonical(answer: str) -> tuple[str, str]:
    text = answer.translate(_CHARACTERS)
    money = _CURRENCY.search(text)
    text = _joined(strip_wrapping(text))
    if _ANGLE.search(text):
        text = _DEGREES.sub(r"(\1\\cdot\\frac{\\pi}{180})", text)
    degree = _DEGREE.search(text)
    for pattern, plain in _SPELLINGS:
        text = pattern.sub(plain, text)
    text, unit = _without_unit(text)
    text = _TEXT.sub(r"\1", _TEXT.sub(r"\1", text))
    text = strip_wrapping(re.sub(r"\s+", " ", text))
    if not unit:
        text, unit = _without_unit(text)
    if unit == "%":
        text = f"{text}%"
    elif not unit and text.endswith("%"):
        unit = "%"
    if not unit and money:
        unit = str(money.lastgroup)
    return text, unit or ("degree" if degree else "")


def _joined(text: str) -> str:
    """``x > 2 and x < 5`` is no list: both hold at once."""
    if not re.search(r"[<>]|\\(?:leq?|geq?)(?![A-Za-z])", text):
        return text
    return re.sub(r"\\(?:text|mbox|textrm)\{\s*and\s*\}|\sand\s", r" \\land ", text)


def _without_unit(text: str) -> tuple[str, str]:
    """Cut a unit off behind a number or a formula; the name of the unit in one spelling."""
    match = _UNIT.search(text)
    if match is None or text.count("{") > 200:
        return text, ""
    words = (match["latex"] if match["latex"] is not None else match["plain"]) or ""
    body = text[: match.start()].rstrip()
    if _NO_UNITS.match(words):
        return text, ""
    if _LONE.fullmatch(words) and not (
        _DIGITS.fullmatch(body) and words.strip().lower() in "msglh"
    ):
        return text, ""
    if body[-1:].isalpha() and not _KNOWN.issuperset(re.findall(r"[a-z]+", words.lower())):
        return text, ""
    words = f"{words}{match['power'] or ''}"
    return body, _unit_name(words)


def _unit_name(words: str) -> str:
    """One name for a unit: singular, lower case, powers as words."""
    power = re.search(r"\^\{?([23])\}?", words)
    found = re.findall(r"[a-z]+|%", words.lower())
    names = [_one_unit(word) for word in found]
    if power:
        names.insert(0, {"2": "square", "3": "cubic"}[power[1]])
    return " ".join(n for n in names if n)


def _one_unit(word: str) -> str:
    single = word if word in _UNITS else word.removesuffix("s")
    return _UNITS.get(single, single or word)
