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
        "\u2208": "\\in ", "\u00b1": "\\pm ", "\u00b0": "", "\u00b2": "^{2}", "\u00b3": "^{3}",
        "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\uff0c": ",", "\u2026": "\\ldots ",
        "\u03b8": "\\theta ", "\u2205": "\\emptyset ", "\u211d": "(-\\infty,\\infty)",
        "\u00bd": "\\frac{1}{2}", "\u00bc": "\\frac{1}{4}",
        "\u00be": "\\frac{3}{4}",
    }
)  # fmt: skip

# In this order; each is a spelling and what it becomes.
_SPELLINGS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"\\!", ""),
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
        (r"(?<![\\A-Za-z])(sqrt|pi|infty|ln|log|sin|cos|tan)(?![A-Za-z])", r"\\\1"),
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
        (r"(?<=[({\[,]) | (?=[)}\],])", ""),
        (r"(\\frac|\\sqrt) (?=[{\[])", r"\1"),
        (r"\} \{", "}{"),
    )
)
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mbox|math(?:rm|bf|it|sf)|operatorname|emph)"
    r"\s*\{([^{}]*)\}"
)
_UNIT = re.compile(
    r"(?<=[0-9}).%])\s*\\(?:text|mbox|mathrm|textrm)\s*\{(?P<latex>[^{}0-9]*)\}"
    r"(?P<power>\s*\^\{?[23]\}?)?\s*$"
    r"|(?<=[0-9}])(?P<plain>(?:\s*(?:cm|mm|km|kg|ft|in|lb|oz|yd|hr|ml|mph|am|pm)| [msglh]|"
    r"\s+[A-Za-z]{3,})"
    r"(?:[ /][A-Za-z.]+)*(?:\s*\^\{?[23]\}?)?)\s*$",
    re.IGNORECASE,
)
# Words behind a number that change it, or go on with it: no units.
_NO_UNITS = re.compile(
    r"\s*(?:and|or|hundred|thousand|million|billion|trillion|dozen|half|halves|third|quarter|fourth"
    r"|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|plus|minus|times|divided|over|by"
    r"|squared|cubed|less|more|than|not|mod|factorial|choose|percentage points)s?\b",
    re.IGNORECASE,
)
_UNITS = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "millimeter": "mm",
    "kilometer": "km", "inche": "inch", "in": "inch", "foot": "foot", "feet": "foot", "ft": "foot",
    "sec": "second", "s": "second", "min": "minute", "hr": "hour", "h": "hour", "sq": "square",
    "gram": "g", "kilogram": "kg", "liter": "l", "litre": "l", "degree": "", "dollar": "",
    "percent": "%",
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


@lru_cache(maxsize=1 << 16)
def canonical(answer: str) -> tuple[str, str]:
    r"""An answer in one spelling, and the unit behind it (empty where there is none).

    Example: ``canonical(r"$\dfrac12 \text{ cm}$")`` is ``(r"\frac{1}{2}", "cm")``.
    """
    if len(answer) > LONGEST:
        return answer.strip(), ""
    text = strip_wrapping(answer.translate(_CHARACTERS))
    for pattern, plain in _SPELLINGS:
        text = pattern.sub(plain, text)
    text, unit = _without_unit(text)
    text = _TEXT.sub(r"\1", _TEXT.sub(r"\1", text))
    text = strip_wrapping(re.sub(r"\s+", " ", text))
    return (text, unit) if unit else _without_unit(text)


def _without_unit(text: str) -> tuple[str, str]:
    """Cut a unit off behind a number or a formula; the name of the unit in one spelling."""
    match = _UNIT.search(text)
    if match is None or text.count("{") > 200:
        return text, ""
    words = (match["latex"] if match["latex"] is not None else match["plain"]) or ""
    if _NO_UNITS.match(words):
        return text, ""
    words = f"{words}{match['power'] or ''}"
    return text[: match.start()].rstrip(), _unit_name(words)


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
