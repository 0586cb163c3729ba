r"""Find the answer in a text: the last balanced ``\boxed{…}``, else "the answer is …".

Strict on purpose: a number that merely stands last in the text is not an answer.
"""

from __future__ import annotations

import re

BOXED = "\\boxed{"
_ANSWER_IS = re.compile(r"\bthe (?:final )?answer is:?\s*([^\n]+)", re.IGNORECASE)


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{…}`` whose braces balance; None where there is none.

    Time is linear in the length of the text. Escaped braces (``\{``) do not count as braces.
    """
    end = len(text)
    while (start := text.rfind(BOXED, 0, end)) >= 0:
        content = _balanced(text, start + len(BOXED), end)
        if content is not None:
            return content.strip()
        end = start
    return None


def _balanced(text: str, start: int, end: int) -> str | None:
    """Text from ``start`` to the brace that closes it before ``end``, or None."""
    depth, index = 1, start
    while index < end:
        character = text[index]
        if character == "\\":
            index += 2
            continue
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[start:index]
        index += 1
    return None


def extract_answer(text: str) -> str | None:
    r"""Extract the answer that a completion states, or None.

    Example: ``extract_answer("So \\boxed{7}")`` is ``"7"``; ``extract_answer("So 7")`` is None.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed or None
    stated = _ANSWER_IS.findall(text)
    if not stated:
        return None
    return stated[-1].strip().rstrip(".").strip("$ ") or None
