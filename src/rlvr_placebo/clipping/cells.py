"""The cells of the laboratory: what is done to the importance ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One treatment of the ratio.

    Attributes:
        low: ratios below this bind where the advantage is negative.
        high: ratios above this bind where it is positive.
        masked: no clip, but gradients left out at random, as often as both clips bind.
    """

    low: float = 0.0
    high: float = math.inf
    masked: bool = False


OFF, BOTH = "off", "both"


def cells(epsilon: float = 0.2) -> dict[str, Cell]:
    """Every treatment of the ratio, with bands of this half-width around 1."""
    low, high = 1 - epsilon, 1 + epsilon
    return {
        OFF: Cell(),
        BOTH: Cell(low, high),
        "high only": Cell(high=high),
        "low only": Cell(low=low),
        "log-symmetric": Cell(1 / high, high),
        "random mask": Cell(masked=True),
    }


CELLS: Mapping[str, Cell] = cells()
