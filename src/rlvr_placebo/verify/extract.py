r"""Find the answer in a text: the last balanced ``\boxed{…}``, answer tags, "the answer is …".

What stands behind ``</think>`` comes first: a box among the thoughts is no answer.

Strict by default: a number that merely stands last in the text is not an answer. The fallback to
it, which the code of arXiv 2506.10947 takes, must be asked for by name.
"""

from __future__ import annotations

import re

BOXED = "\\boxed{"
_TAGGED = re.compile(r"<answer>((?:(?!</?answer>).){0,4000})</answer>", re.DOTALL)
_LAST_NUMBER = re.compile(r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:/[0-9]+)?")
FALLBACKS = ("none", "last_number")
_ANSWER_IS = re.compile(r"\bthe (?:final )?answer is:?\s*(?=\S)", re.IGNORECASE)


_MATH = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)")
_REST = re.compile(
    r"\.(?:\s|$)|;|,?\s(?:since|because|as|which|so|where|when|for)\s", re.IGNORECASE
)


def _sentence(text: str) -> str:
    """An answer without what is said behind it: a formula, else up to the end of its clause."""
    text = text.strip()
    if formula := _MATH.match(text):
        behind = text[formula.end() :].lstrip(" .,")
        if not behind or _REST.match(text[formula.end() :]) or behind[0].isupper():
            return (formula[1] or formula[2]).strip()
    end = _REST.search(text)
    return (text[: end.start()] if end else text).strip().rstrip(".,").strip("$ ")


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


def extract_answer(text: str, fallback: str = "none") -> str | None:
    r"""Extract the answer that a completion states, or None.

    Example: ``extract_answer("So \\boxed{7}")`` is ``"7"``; ``extract_answer("So 7")`` is None.

    Args:
        text: the completion.
        fallback: of :data:`FALLBACKS`; ``last_number`` takes the last number of a text that states
            no answer.
    """
    _, thought, said = text.rpartition("</think>")
    if thought and (answer := extract_answer(said)):
        return answer
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed or None
    tagged = _TAGGED.findall(text)
    if tagged:
        return extract_answer(tagged[-1]) or tagged[-1].strip() or None
    stated = [match.end() for match in _ANSWER_IS.finditer(text)]
    if stated:
        return _sentence(text[stated[-1] :].partition("\n")[0]) or None
    if fallback == "last_number":
        numbers = _LAST_NUMBER.findall(text)
        return numbers[-1] if numbers else None
    return None
