"""Does a text repeat itself? In time linear in its length."""

from __future__ import annotations

import re

import numpy as np

PERIOD = 64  # the longest unit looked for, in words (in characters: half of it)
TIMES = 4  # a unit must stand so often in a row
WORDS = 12  # and the repeated stretch must hold so many words
CHARACTERS = 60  # or, where spaces do not help, so many characters
_WORD = re.compile(r"\S+")


def repetition(text: str) -> bool:
    """The same words, or the same characters, at least four times in a row, over a long stretch.

    A unit of up to 64 words (32 characters) counts where it stands at least :data:`TIMES` times in
    a row and the stretch has at least :data:`WORDS` words (:data:`CHARACTERS` characters that are
    not all blank). Repeated words at different places are no repetition.
    """
    numbers: dict[str, int] = {}
    words = [numbers.setdefault(w, len(numbers)) for w in _WORD.findall(text)]
    if _periodic(np.array(words, dtype=np.int64), PERIOD, WORDS):
        return True
    letters = np.frombuffer("".join(text.split()).encode("utf-32-le"), dtype=np.uint32)
    return _periodic(letters, PERIOD // 2, CHARACTERS)


def _periodic(symbols: np.ndarray, longest: int, least: int) -> bool:
    """Whether a stretch of at least ``least`` symbols has a period and holds it TIMES times."""
    for period in range(1, min(longest, len(symbols) // TIMES) + 1):
        same = symbols[period:] == symbols[:-period]
        needed = max(TIMES * period, least) - period
        # counting is cheap and settles most periods
        if np.count_nonzero(same) >= needed and _longest_run(same) >= needed:
            return True
    return False


def _longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))
