"""The tabular twin: a policy of two strategies under random rewards, and where clipping moves it.

The policy answers with strategy A with probability p = σ(θ); θ is its log-odds. Rewards are
independent of the answers, so a drift of θ that does not vanish over many rollouts is what the
objective itself prefers. What is known of it in closed form is checked by enumeration (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from rlvr_placebo.clipping.cells import CELLS, Cell
from rlvr_placebo.core.seeds import generator_for


@dataclass(frozen=True)
class Twin:
    """One rollout batch of a two-strategy policy and its updates.

    Attributes:
        share: p, the probability of strategy A before the rollout.
        groups: of the rollout, dealt to the updates in equal parts.
        samples: G, of each group.
        updates: per rollout.
        step: learning rate.
        rate: γ of the random reward.
        adam: AdamW's rule with fresh moments, betas (0.9, 0.95); else SGD.
    """

    share: float = 0.7
    groups: int = 64
    samples: int = 16
    updates: int = 8
    step: float = 1.0
    rate: float = 0.5
    adam: bool = False


@dataclass(frozen=True)
class Drift:
    """Mean change of the log-odds over one rollout, and how often the clips bound."""

    value: float
    stderr: float
    binding: float

    def as_dict(self) -> dict[str, float]:
        """Ready for JSON."""
        return {"value": self.value, "stderr": self.stderr, "binding": self.binding}


def drift(twin: Twin, cell: Cell, rollouts: int, masked: float = 0.0) -> Drift:
    """Simulate rollouts, each with its rewards r and again with 1 − r, and average.

    The two halves of a pair have opposite advantages: what is left of their mean is no luck of the
    rewards. All cells see the same answers and rewards.

    Args:
        twin: policy, batch and optimizer.
        cell: what is done to the ratio.
        rollouts: pairs.
        masked: share of gradients left out in a cell that masks.
    """
    rng = generator_for(0, 0, "", 0, "clipping twin")
    shape = (rollouts, twin.groups, twin.samples)
    is_a = rng.random(shape) < twin.share
    advantages = _advantages(rng.random(shape) < twin.rate)
    kept = rng.random(shape) >= (masked if cell.masked else 0.0)
    moved, bound = zip(
        *(_learn(twin, cell, is_a, sign * advantages, kept) for sign in (1.0, -1.0)), strict=True
    )
    pairs = (moved[0] + moved[1]) / 2
    return Drift(
        float(pairs.mean()), float(pairs.std(ddof=1) / np.sqrt(rollouts)), float(np.mean(bound))
    )


def _advantages(rewards: np.ndarray) -> np.ndarray:
    """GRPO's: centred and scaled within each group; 0 where nothing varies."""
    centred = rewards - rewards.mean(axis=-1, keepdims=True)
    spread = rewards.std(axis=-1, ddof=1, keepdims=True)
    return np.where(spread > 0, centred / np.where(spread > 0, spread, 1.0), 0.0)


def _learn(
    twin: Twin, cell: Cell, is_a: np.ndarray, advantages: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, float]:
    """All updates of every rollout: the change of θ, and the share of answers that bound."""
    start = np.log(twin.share / (1 - twin.share))
    theta = np.full(len(is_a), start)
    first, second = np.zeros(len(is_a)), np.zeros(len(is_a))
    bound = 0
    for update, part in enumerate(np.array_split(np.arange(twin.groups), twin.updates), start=1):
        slope, binds = gradient(
            theta, twin.share, is_a[:, part], advantages[:, part], cell, kept[:, part]
        )
        bound += int(binds.sum())
        if twin.adam:
            first, second = 0.9 * first + 0.1 * slope, 0.95 * second + 0.05 * slope**2
            mean, scale = first / (1 - 0.9**update), second / (1 - 0.95**update)
            slope = mean / (np.sqrt(scale) + 1e-8)
        theta = theta + twin.step * slope
    return theta - start, bound / is_a.size


def gradient(
    theta: np.ndarray, share: float, is_a: np.ndarray, advantages: np.ndarray, cell: Cell,
    kept: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Gradient of the clipped surrogate (GRPO, arXiv 2402.03300, eq. 3) in the log-odds.

    Args:
        theta: of every rollout, now.
        share: p when the answers were sampled.
        is_a: rollouts × groups × samples.
        advantages: likewise.
        cell: what is done to the ratio.
        kept: gradients that are not left out at random.

    Returns:
        The mean gradient of every rollout, and which answers the clips bound.
    """
    now = (1 / (1 + np.exp(-theta)))[:, None, None]
    ratio = np.where(is_a, now / share, (1 - now) / (1 - share))
    binds = ((ratio > cell.high) & (advantages > 0)) | ((ratio < cell.low) & (advantages < 0))
    slope = np.where(is_a, 1 - now, -now) * ratio * advantages
    return np.where(binds | ~kept, 0.0, slope).mean(axis=(1, 2)), binds


def expected_gradient(theta: float, share: float, samples: int, cell: Cell) -> float:
    """The mean of :func:`gradient` over every group and reward (γ = ½), by enumeration."""
    total = 0.0
    for answers in product((False, True), repeat=samples):
        is_a = np.array(answers)
        chance = float(np.prod(np.where(is_a, share, 1 - share)))
        for rewards in product((0.0, 1.0), repeat=samples):
            slope, _ = gradient(
                np.array([theta]), share, is_a[None, None], _advantages(np.array([[rewards]])),
                cell, np.ones((1, 1, samples), dtype=bool),
            )  # fmt: skip
            total += chance * float(slope[0]) / 2**samples
    return total


def predicted_gradient(theta: float, share: float, samples: int, cell: Cell) -> float:
    """The bias of clipping under random rewards in closed form (arXiv 2506.10947, app. B).

    ``μ Σ_s p_s ρ_s ∇log π_s (1{ρ_s < 1 − ε_low} − 1{ρ_s > 1 + ε_high})``, with μ the mean of the
    positive part of an advantage: clipping takes the positive half of what is above the band, and
    the negative half of what is below it.
    """
    rewards = np.array(list(product((0.0, 1.0), repeat=samples)))
    mean = float(np.maximum(_advantages(rewards[:, None]), 0).mean())
    now = 1 / (1 + np.exp(-theta))
    total = 0.0
    for chance, new, slope in ((share, now, 1 - now), (1 - share, 1 - now, -now)):
        ratio = new / chance
        total += chance * ratio * slope * (float(ratio < cell.low) - float(ratio > cell.high))
    return mean * total


def step_for(twin: Twin, binding: float, rollouts: int = 200) -> Twin:
    """The twin with the learning rate at which both clips bind on such a share of the answers."""
    low, high = 1e-4, 1e3
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        found = drift(replace(twin, step=middle), CELLS["both"], rollouts).binding
        low, high = (middle, high) if found < binding else (low, middle)
    return replace(twin, step=float(np.sqrt(low * high)))


def table(
    shares: Sequence[float], bindings: Sequence[float], rollouts: int, twin: Twin = Twin()
) -> list[dict[str, Any]]:  # fmt: skip
    """Drifts of every cell, by probability of strategy A and by how often both clips bind."""
    rows: list[dict[str, Any]] = []
    for binding in bindings:
        for share in shares:
            own = step_for(replace(twin, share=share), binding)
            both = drift(own, CELLS["both"], rollouts)
            found: Mapping[str, Drift] = {
                name: drift(own, cell, rollouts, both.binding) for name, cell in CELLS.items()
            }
            rows.append(
                {
                    "share": share,
                    "binding": both.binding,
                    "step": own.step,
                    "drift": {name: one.as_dict() for name, one in found.items()},
                }
            )
    return rows
