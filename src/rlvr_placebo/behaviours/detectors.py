r"""Behaviours: labels of a completion's text, independent of whether it is right.

Each detector is a function from text to bool, in a dict by name; evaluation records all of them,
with their frequency and the accuracy with and without. Length is a number, see :func:`words`.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping

from rlvr_placebo.behaviours.language import other_language
from rlvr_placebo.behaviours.repetition import repetition
from rlvr_placebo.verify.extract import last_boxed

_FENCE = re.compile(
    r"^[ \t>]*(?P<fence>`{3,}|~{3,})[ \t]*\{?\.?(?P<language>[\w+#-]*)[^\n]*\n(?P<body>.*?)"
    r"(?:^[ \t>]*(?P=fence)|\Z)",
    re.DOTALL | re.M,
)
_PYTHON = {"python", "py", "python3", "python2", "py3", "ipython", "sage", "sympy"}
_UNNAMED = {"", "code"}
_UNDOUBTED = re.compile(
    r"^\s*(?:print\s*\(|import\s+\w|from\s+\w[\w.]*\s+import\s|def\s+\w+\s*\(.*\)\s*(?:->.*)?:)",
    re.M,
)
_PROMPTED = re.compile(r"^[ \t]*(?:>>> |In \[\d+\]: )(?P<line>.*)", re.M)
_QUOTED = re.compile(r"^[ \t]*> ?", re.M)
_CUT = 3  # last lines that may be left out of a block that was cut off
_LONGEST = 20_000  # characters of a block that are parsed
_DOING = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.FunctionDef,
          ast.ClassDef, ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Assert,
          ast.Return)  # fmt: skip


def code(text: str) -> bool:
    """Python that is written out: a block with at least one statement, or an interpreter's trace.

    A block counts if it is fenced, called Python and parses as Python that does something, or if it
    is fenced without a name (or does not parse as a whole) and holds a line that only Python writes
    (``print(``, an import, a definition). A mention of Python is not enough, and neither is prose
    in a block, a block in another language, an output, or a comment.
    """
    if any(_does_something(match["line"]) for match in _PROMPTED.finditer(text)):
        return True
    for block in _FENCE.finditer(text):
        language = block["language"].lower()
        body = _QUOTED.sub("", block["body"]) if ">" in block[0].split("`")[0] else block["body"]
        if language in _PYTHON and (_does_something(body) or _UNDOUBTED.search(body)):
            return True
        if language in _UNNAMED and _UNDOUBTED.search(body):
            return True
    return False


def _does_something(source: str) -> bool:
    """Whether a source parses as Python and holds more than names and constants.

    The last lines may have been cut off; an indented block is moved to the margin.
    """
    lines = textwrap.dedent(source[:_LONGEST]).strip("\n").split("\n")
    for cut in range(min(_CUT, len(lines))):
        tree = _parse("\n".join(lines[: len(lines) - cut]))
        if tree is not None:
            return any(
                isinstance(node, _DOING)
                or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.BinOp))
                for node in tree.body
            )
    return False


def _parse(source: str) -> ast.Module | None:
    """The syntax tree of a source; None where it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def python_mentioned(text: str) -> bool:
    """The paper's detector of code reasoning: the text contains "python" (arXiv 2506.10947)."""
    return "python" in text.lower()


def boxed(text: str) -> bool:
    r"""A non-empty, balanced ``\boxed{…}``."""
    return bool(last_boxed(text))


MARKER = "Okay"  # a word that means nothing
_MARKER = re.compile(rf"\s*{MARKER}\b", re.IGNORECASE)


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
