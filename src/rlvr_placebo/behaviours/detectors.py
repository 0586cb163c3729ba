r"""Behaviours: labels of a completion's text, independent of whether it is right.

Each detector is a function from text to bool, in a dict by name; evaluation records all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from rlvr_placebo.verify.extract import last_boxed

_CODE_BLOCK = re.compile(r"```\s*(?:python|py)\b[^\n]*\n(?P<body>.*?)(?:```|\Z)", re.DOTALL | re.I)
_STATEMENT = re.compile(r"^\s*(?:\w+\s*[-+*/]?=\s*\S|print\s*\(|import\s|from\s|def\s|for\s)", re.M)


def code(text: str) -> bool:
    """A Python block that holds at least one statement (a mention of Python is not enough)."""
    return any(_STATEMENT.search(block["body"]) for block in _CODE_BLOCK.finditer(text))


def python_mentioned(text: str) -> bool:
    """The paper's detector of code reasoning: the text contains "python" (arXiv 2506.10947)."""
    return "python" in text.lower()


def boxed(text: str) -> bool:
    r"""A non-empty, balanced ``\boxed{…}``."""
    return bool(last_boxed(text))


BEHAVIOURS: Mapping[str, Callable[[str], bool]] = {
    "code": code,
    "python_mentioned": python_mentioned,
    "boxed": boxed,
}


def label(text: str) -> dict[str, bool]:
    """Apply every detector."""
    return {name: detector(text) for name, detector in BEHAVIOURS.items()}
