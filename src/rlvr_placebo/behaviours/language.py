"""Is a text in English? By its script, and by its small words."""

from __future__ import annotations

import re
import unicodedata

# Small words that are frequent in one language and no word of the others.
_SMALL: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the is and of to we that then this it are with for from now has how be so by an "
        "use can let will has have each at total first there",
        "de": "der das und ist wir nicht ein eine mit von auf zu dann also für sind werden hat den",
        "fr": "le les et est nous que donc une des pour dans sur avec par il sont alors du au",
        "es": "el los es y que entonces una por con para las se del tiene ahora son más lo",
        "it": "il gli che sono quindi una per con della di allora ha nel dei abbiamo è",
        "pt": "os que então uma com para não são do da tem agora em temos é",
        "nl": "de het een en is van wij dus niet met voor dan zijn op heeft nu",
    }.items()
}
_WORDS = re.compile(r"[^\W\d_]+")
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|\$[^$]*\$|\\\w+(?:\{[^{}]*\})?|`[^`\n]*`", re.DOTALL)
_MARGIN = 2  # another language needs so many small words more than English
# Greek letters stand in formulas, whatever the language around them.
_SCRIPTS = ("LATIN", "GREEK", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "MODIFIER",
            "SUPERSCRIPT", "FULLWIDTH LATIN", "MICRO", "FEMININE", "MASCULINE", "ALEF SYMBOL",
            "PLANCK", "KELVIN", "ANGSTROM", "OHM", "TURNED", "SUBSCRIPT", "PARTIAL")  # fmt: skip


def other_language(text: str) -> bool:
    """The text is not in English, or not only: other scripts, or another language's small words.

    Code, formulas and LaTeX commands are left aside. One letter of another script is enough (Greek
    letters apart); for languages in Latin script their small words must outnumber English ones by
    at least two. A text without words is in no other language.
    """
    prose = _NOT_PROSE.sub(" ", text)
    if any(c.isalpha() and not _familiar(c) for c in prose):
        return True
    words = [w.lower() for w in _WORDS.findall(prose)]
    counts = {name: sum(w in small for w in words) for name, small in _SMALL.items()}
    english = counts.pop("en")
    return max(counts.values()) >= english + _MARGIN


def _familiar(letter: str) -> bool:
    """Whether a letter belongs to English prose or to formulas."""
    if letter.isascii():
        return True
    name = unicodedata.name(letter, "")
    return name.startswith(_SCRIPTS)
