"""Placebo: controlled trials of reinforcement learning with verifiable rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr_placebo.analysis.frames import open_study

__version__ = "0.1.0"
__all__ = ["__version__", "open_study"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (a function, imported when it is asked for)
    if name == "open_study":
        from rlvr_placebo.analysis.frames import open_study

        return open_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
