"""The floor: seconds that ``torch.mm`` takes for the matrix products of the least work.

The least work reads each prompt once for its whole group, pads nothing, scores nothing twice, and
updates on nothing whose advantage is 0. Each product of a linear map is timed alone, at the shape
at which it occurs, in the same run as what is compared to it; those of attention are counted at the
rate of a large one, which they do not reach. Element-wise work, sampling and memory traffic count
nothing. A part whose products are done by a faster library than ``torch.mm`` asks can lie below it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import cache

import torch

from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.products import round_up

REPEATS = 15
GRAIN = 4  # numbers of rows are rounded up to a multiple of it, to time fewer shapes


def step_floor(
    a: Architecture, prompts: Sequence[int], completions: Sequence[Sequence[int]],
    taught: Sequence[Sequence[int]], updates: int,
) -> dict[str, float]:  # fmt: skip
    """Seconds of the products of one step.

    Args:
        a: the model.
        prompts: tokens of each prompt.
        completions: tokens of each completion, by prompt.
        taught: of those that have an advantage, by prompt.
        updates: optimizer steps.
    """
    generation = generation_floor(a, prompts, completions)
    asked = [n for n, group in zip(prompts, taught, strict=True) if group]
    learnt = [group for group in taught if group]
    inputs = sum(asked) + sum(n - 1 for group in learnt for n in group)
    scored = len(asked) + sum(n - 1 for group in learnt for n in group)
    each = -(-inputs // updates)
    update = updates * (_layers(a, each, True) + _product(-(-scored // updates), *_head(a), True))
    update += 3 * _attention(a, asked, learnt)
    return {"generation": generation, "update": update, "step": generation + update}


def generation_floor(
    a: Architecture, prompts: Sequence[int], completions: Sequence[Sequence[int]]
) -> float:
    """Seconds of the products of prefill and decoding."""
    lengths = [n for group in completions for n in group]
    seconds = _layers(a, sum(prompts), False) + _product(len(lengths), *_head(a), False)
    for step in range(1, max(lengths)):
        active = sum(n > step for n in lengths)
        seconds += _layers(a, active, False) + _product(active, *_head(a), False)
    return seconds + _attention(a, prompts, completions)


def _layers(a: Architecture, rows: int, backward: bool) -> float:
    """Seconds of all linear maps of all layers, but for the head; maps of one input as one."""
    queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
    shapes = [
        (a.hidden_size, queries + 2 * keys), (queries, a.hidden_size),
        (a.hidden_size, 2 * a.intermediate_size), (a.intermediate_size, a.hidden_size),
    ]  # fmt: skip
    return a.layers * sum(_product(rows, *shape, backward) for shape in shapes)


def _head(a: Architecture) -> tuple[int, int]:
    return a.hidden_size, a.vocab_size


def _product(rows: int, inner: int, outer: int, backward: bool) -> float:
    """Seconds of ``[rows, inner] @ [inner, outer]``, with those of its two gradients."""
    rows = round_up(rows, GRAIN)
    forward = _timed(rows, inner, outer)
    return forward + (_timed(rows, outer, inner) + _timed(outer, rows, inner) if backward else 0)


@cache
def _timed(rows: int, inner: int, outer: int) -> float:
    one, other = torch.randn(rows, inner), torch.randn(inner, outer)
    out = torch.empty(rows, outer)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        torch.mm(one, other, out=out)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[3:])


def _attention(
    a: Architecture, prompts: Sequence[int], completions: Sequence[Sequence[int]]
) -> float:
    """Seconds of the two products of attention, at the rate of the projection of queries."""
    pairs = sum(p * (p + 1) // 2 for p in prompts)
    for prompt, group in zip(prompts, completions, strict=True):
        pairs += sum((n - 1) * prompt + n * (n - 1) // 2 for n in group)
    rows = 1024
    work = 2 * rows * a.hidden_size * a.heads * a.head_dim
    rate = work / _timed(rows, a.hidden_size, a.heads * a.head_dim)
    return 4 * a.layers * a.heads * a.head_dim * pairs / rate
