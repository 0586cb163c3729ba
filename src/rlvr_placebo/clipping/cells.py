"""The cells of the laboratory: what is done to the importance ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

EPSILON = 0.2


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


OFF = "off"
CELLS: Mapping[str, Cell] = {
    OFF: Cell(),
    "both": Cell(1 - EPSILON, 1 + EPSILON),
    "high only": Cell(high=1 + EPSILON),
    "low only": Cell(low=1 - EPSILON),
    "log-symmetric": Cell(1 / (1 + EPSILON), 1 + EPSILON),
    "random mask": Cell(masked=True),
}
