"""Rewards that a model gives itself: how sure it was of what it wrote."""

from __future__ import annotations

from rlvr_placebo.core.records import Rollout


def self_certainty(rollout: Rollout) -> float | None:
    """Mean over tokens of KL(uniform ‖ p), in nats (INTUITOR, 2505.19590, eq. 3)."""
    values = rollout.completion.certainties
    return float(values.mean(dtype="float64")) if len(values) else None


def low_entropy(rollout: Rollout) -> float | None:
    """Minus the mean entropy of its tokens, in nats: sureness pays (EM-RL, 2505.15134)."""
    values = rollout.completion.entropies
    return -float(values.mean(dtype="float64")) if len(values) else None
