"""Randomness is a value: every draw is a function of what it is for, and of nothing else.

No module of this package touches a global generator. A seed is derived from the five coordinates
of a draw, so killing, resuming, reordering or batching work differently cannot change a number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def seed_for(run_seed: int, step: int, problem_id: str, sample: int, purpose: str) -> int:
    """Derive the 64-bit seed of one draw.

    Args:
        run_seed: the seed of the run (or of the evaluation contract).
        step: rollout step, counted from 1; 0 for what happens before training.
        problem_id: id of the problem, or ``""`` where the draw belongs to no problem.
        sample: index of the sample within its group.
        purpose: what the draw is for, e.g. ``"rollout"`` or ``"reward"``.

    Returns:
        An integer in ``[0, 2**64)``; different coordinates give independent seeds.
    """
    text = "\x1f".join((str(run_seed), str(step), problem_id, str(sample), purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator_for(
    run_seed: int, step: int, problem_id: str, sample: int, purpose: str
) -> np.random.Generator:
    """Return a NumPy generator seeded by :func:`seed_for` of the same arguments."""
    return np.random.default_rng(seed_for(run_seed, step, problem_id, sample, purpose))


def uniforms(seeds: Sequence[int], length: int) -> np.ndarray:
    """One uniform per (seed, position), by SplitMix64 in counter mode.

    The value at a position depends on the row's seed and that position alone, so a row keeps its
    random numbers whatever batch it is generated in, and wherever it is cut.

    Args:
        seeds: one 64-bit seed for each of B rows.
        length: number of positions T.

    Returns:
        float64 array ``[B, T]`` with values in ``[0, 1)``.
    """
    seeds_B1 = np.asarray(seeds, dtype=np.uint64)[:, None]
    counter_1T = np.arange(1, length + 1, dtype=np.uint64)[None, :]
    with np.errstate(over="ignore"):
        z = seeds_B1 + counter_1T * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
