r"""The outer form of an answer: list, tuple, interval, set, union, matrix, and their parts."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPEN, _CLOSE = "([{", ")]}"
_MATRIX = re.compile(
    r"\\begin\{([pbB]?)(?:small)?matrix\}(.*)\\end\{\1(?:small)?matrix\}", re.DOTALL
)
_ENDS = {("(", ")"): "()", ("[", "]"): "[]", ("(", "]"): "(]", ("[", ")"): "[)",
         ("\\{", "\\}"): "set"}  # fmt: skip
DEEPEST = 60  # brackets within brackets; deeper text is no answer


@dataclass(frozen=True)
class Collection:
    r"""Several values in one answer. Example: ``Collection("()", ("1", "2"))`` of ``(1, 2)``.

    Attributes:
        kind: ``()``, ``[]``, ``(]``, ``[)``, ``set``, ``list`` (no brackets), ``union``, ``matrix``
            (of rows), ``row``.
        items: the parts, as text.
    """

    kind: str
    items: tuple[str, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of the parts matters."""
        return self.kind not in ("set", "list", "union")


def collection_of(text: str) -> Collection | None:
    """The parts of an answer that has several, or None."""
    if match := _MATRIX.fullmatch(text):
        rows = re.split(r"\\\\(?:\[[^\]]*\])?", match[2].strip())
        return Collection("matrix", tuple(r.strip() for r in rows if r.strip()))
    if (parts := split(text, "\\cup")) and len(parts) > 1:
        return Collection("union", tuple(parts))
    inner = _bracketed(text)
    if inner:
        kind, content = inner
        items = split(content, ",")
        items = _either_signs(items) if kind == "set" else items
        return Collection(kind, tuple(items)) if len(items) > 1 or kind == "set" else None
    parts = split(text, ",")
    if len(parts) > 1 and all(parts):
        return Collection("list", tuple(_either_signs(parts)))
    return _either_sign(text)


def _either_signs(items: list[str]) -> list[str]:
    """The parts of a list, ``a ± b`` as two of them."""
    found: list[str] = []
    for item in items:
        pair = _either_sign(item)
        found += pair.items if pair else [item]
    return found


def _either_sign(text: str) -> Collection | None:
    r"""``a \pm b`` is the list of ``a + b`` and ``a - b``."""
    if text.count("\\pm") != 1 or "\\mp" in text:
        return None
    plus, minus = text.replace("\\pm", "+"), text.replace("\\pm", "-")
    return Collection("list", (plus.lstrip().removeprefix("+").strip(), minus.strip()))


def row_of(text: str) -> Collection:
    """The cells of one row of a matrix."""
    return Collection("row", tuple(split(text, "&")))


def unwrapped(text: str) -> str:
    """A single value without the round brackets around it: ``(7)`` is ``7``."""
    while (inner := _bracketed(text)) and inner[0] == "()" and len(split(inner[1], ",")) == 1:
        text = inner[1].strip()
    while text.startswith("{") and _closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _bracketed(text: str) -> tuple[str, str] | None:
    """Kind and content of a text that stands in one pair of brackets."""
    for (left, right), kind in _ENDS.items():
        if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
            start = len(left) - 1
            if _closing(text, start) == len(text) - 1:
                return kind, text[len(left) : -len(right)].strip()
    return None


def _closing(text: str, start: int) -> int | None:
    """Where the bracket at ``start`` is closed, by whatever bracket: intervals may be half open."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in _OPEN) - (text[index] in _CLOSE)
        if depth == 0:
            return index
        if depth > DEEPEST:
            return None
    return None


def split(text: str, mark: str) -> list[str]:
    """Parts of a text between marks that stand in no bracket."""
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        character = text[index]
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0 and text.startswith(mark, index):
            parts.append(text[start:index].strip())
            start = index = index + len(mark)
            continue
        index += 1
    return [*parts, text[start:].strip()]
