"""How a run tells what it is doing; the command line draws it, tests and workers stay silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Watch(Protocol):
    """Hears of a run's progress. Nothing it does may change the run."""

    def progress(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` units of ``what`` (``"step"``, or an evaluation) are done."""

    def metrics(self, record: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """A step ended."""

    def evaluated(self, step: int, summary: Sequence[Mapping[str, Any]]) -> None:
        """An evaluation ended."""

    def say(self, line: str) -> None:
        """Something to know before long work starts."""

    def warn(self, line: str) -> None:
        """Something a researcher should hear, once."""


class Silent:
    """Hears everything and says nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Say nothing."""

    def metrics(self, record: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """Say nothing."""

    def evaluated(self, step: int, summary: Sequence[Mapping[str, Any]]) -> None:
        """Say nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def warn(self, line: str) -> None:
        """Say nothing."""
