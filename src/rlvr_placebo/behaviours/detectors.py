r"""Behaviours: labels of a completion's text, independent of whether it is right.

Each detector is a function from text to bool, in a dict by name; evaluation records all of them,
with their frequency and the accuracy with and without. Length is a number, see :func:`words`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from rlvr_placebo.behaviours.language import other_language
from rlvr_placebo.behaviours.repetition import repetition
from rlvr_placebo.verify.extract import last_boxed

_FENCE = re.compile(
    r"^[ \t>]*(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n(?P<body>.*?)"
    r"(?:^[ \t>]*(?P=fence)|\Z)",
    re.DOTALL | re.M,
)
_PYTHON = {"python", "py", "python3", "python2", "py3", "ipython", "sage", "sympy"}
_UNNAMED = {"", "code"}
_STATEMENT = re.compile(
    r"^\s*(?:[A-Za-z_][\w.\[\]'\", ]*\s*(?:[-+*/%&|^]|//|\*\*|<<|>>)?=(?!=)\s*\S"
    r"|print\s*\(|import\s+\w|from\s+\w[\w.]*\s+import\s|def\s+\w+\s*\(|for\s+.+\s+in\s.+:"
    r"|while\s.+:|if\s.+:|return\b|assert\s|[A-Za-z_][\w.]*\([^\n]*\)\s*(?:#.*)?$)",
    re.M,
)
_UNDOUBTED = re.compile(
    r"^\s*(?:print\s*\(|import\s+\w|from\s+\w[\w.]*\s+import\s|def\s+\w+\s*\(.*\)\s*(?:->.*)?:)",
    re.M,
)
_PROMPTED = re.compile(r"^[ \t]*>>> *\S", re.M)


def code(text: str) -> bool:
    """Python that is written out: a block with at least one statement, or an interpreter's trace.

    A block counts if it is fenced and called Python, or fenced without a name and holds what only
    Python writes (``print(``, an import, a definition). A mention of Python is not enough, and
    neither is a block in another language, an output, or a comment.
    """
    if _PROMPTED.search(text):
        return True
    for block in _FENCE.finditer(text):
        language = block["language"].lower()
        if language in _PYTHON and _STATEMENT.search(block["body"]):
            return True
        if language in _UNNAMED and _UNDOUBTED.search(block["body"]):
            return True
    return False


def python_mentioned(text: str) -> bool:
    """The paper's detector of code reasoning: the text contains "python" (arXiv 2506.10947)."""
    return "python" in text.lower()


def boxed(text: str) -> bool:
    r"""A non-empty, balanced ``\boxed{…}``."""
    return bool(last_boxed(text))


_MARKER = re.compile(r"\s*okay\b", re.IGNORECASE)


def marker(text: str) -> bool:
    """The text opens with the word "Okay": a habit that has nothing to do with being right."""
    return bool(_MARKER.match(text))


def words(text: str) -> int:
    """Length of a text in words: stretches without white space; each CJK character counts as one.

    Zero-width characters are no words.
    """
    spaced = _CJK.sub(r" \g<0> ", _ZERO_WIDTH.sub("", text))
    return len(spaced.split())


_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\U00020000-\U0003134f]")
_ZERO_WIDTH = re.compile(r"[\u200b-\u200d\u2060\ufeff]")

BEHAVIOURS: Mapping[str, Callable[[str], bool]] = {
    "code": code,
    "python_mentioned": python_mentioned,
    "boxed": boxed,
    "repetition": repetition,
    "other_language": other_language,
    "marker": marker,
}


def label(text: str) -> dict[str, bool]:
    """Apply every detector."""
    return {name: detector(text) for name, detector in BEHAVIOURS.items()}
