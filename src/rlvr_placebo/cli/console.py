"""What progress and tables have in common: a console whose reader may leave, and durations."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


class ForgivingConsole(Console):
    """A console whose reader may leave: what is then still to be said is dropped."""

    def on_broken_pipe(self) -> None:
        """Send the rest to nowhere, and go on."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def for_tables(width: int = 80) -> ForgivingConsole:
    """Standard output; tables are drawn for so many columns where it is no terminal."""
    return ForgivingConsole(width=None if sys.stdout.isatty() else width, markup=False)


def duration(seconds: float) -> str:
    """Minutes and seconds in words, e.g. ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def percent(estimate: Mapping[str, Any]) -> str:
    """A share with its error in points, e.g. ``46.4±2.9``; ``–`` where nothing was observed."""
    if estimate["value"] is None:
        return "–"
    error = estimate["stderr"]
    return f"{100 * estimate['value']:.1f}±" + ("?" if error is None else f"{100 * error:.1f}")


def plain_table(title: str) -> Table:
    """A plain table that fits 80 columns."""
    return Table(
        title=Text(title),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
