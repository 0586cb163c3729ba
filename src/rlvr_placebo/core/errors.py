"""The one exception a user is meant to see: it is printed as a single line, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PlaceboError(Exception):
    """A user's mistake: what is wrong, where, and what to do, in one line.

    The command line prints the message and exits with status 2.
    """


class BusyError(PlaceboError):
    """Another process is writing what was asked for; it may be free in a moment."""


class UnsupportedError(PlaceboError):
    """An architecture that our own decoder does not compute; ``transformers`` may."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def suggest(word: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant.

    Args:
        word: what the user wrote, e.g. ``"ground_thruth"``.
        known: the names that exist.

    Returns:
        ``"did you mean 'ground_truth'?"``, or the list of known names when nothing is near.
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
