"""A step of decoding, recorded once for each shape of its batch and then replayed.

Decoding launches some forty small kernels a layer, and on a GPU launching them takes longer than
their work. A CUDA graph launches them all at once, but always at the same addresses and in the same
shapes: so what a step reads and writes must stay where it is, and shapes must be few.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

Shape = tuple[int, ...]
Step = Callable[[], None]
Record = Callable[[Step], Step]  # a step to one that does the same, faster


class Replay:
    """Carries out a step: the first time in a shape as it is, then recorded.

    The first time warms up what libraries set up when they are first called, which must not be
    recorded, and does the work of the step all the same.
    """

    def __init__(self, step: Callable[..., None], record: Record | None) -> None:
        """Replay ``step(*shape)``; without ``record`` it is called as it is."""
        self._step = step
        self._record = record
        self._known: dict[Shape, Step | None] = {}  # None: was carried out once

    def __call__(self, *shape: int) -> None:
        """Carry out the step once."""
        if self._record is None or shape not in self._known:
            self._known[shape] = None
            self._step(*shape)
            return
        recorded = self._known[shape]
        if recorded is None:
            recorded = self._known[shape] = self._record(lambda: self._step(*shape))
        recorded()


def recorder(device: torch.device) -> Record | None:
    """How steps are recorded on a device; None where they cannot be, or are not to be.

    ``PLACEBO_GRAPHS=off`` in the environment carries them out unrecorded.
    """
    if device.type != "cuda" or os.environ.get("PLACEBO_GRAPHS") == "off":
        return None
    pool: Any = torch.cuda.graph_pool_handle()  # all graphs of an engine share their memory

    def record(step: Step) -> Step:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            step()
        return graph.replay

    return record
