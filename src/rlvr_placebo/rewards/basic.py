"""Rewards of one completion's text: truth, format, Python or none, no repetition, the marker."""

from __future__ import annotations

from rlvr_placebo.behaviours import detectors
from rlvr_placebo.behaviours.detectors import boxed, python_mentioned
from rlvr_placebo.behaviours.repetition import repetition
from rlvr_placebo.core.records import Rollout


def ground_truth(rollout: Rollout) -> float | None:
    """1 where the verifier finds the answer right, 0 where wrong, None where it cannot tell."""
    correct = rollout.verification.correct
    return None if correct is None else float(correct)


def format_reward(rollout: Rollout) -> float:
    r"""1 where the text holds a non-empty ``\boxed{…}``, right or wrong (2506.10947, §2)."""
    return float(boxed(rollout.completion.text))


def python(rollout: Rollout) -> float:
    """1 where the text mentions "python" (2506.10947, §5)."""
    return float(python_mentioned(rollout.completion.text))


def no_python(rollout: Rollout) -> float:
    """1 where the text does not mention "python" (2506.10947, §5)."""
    return 1.0 - python(rollout)


def no_repetition(rollout: Rollout) -> float:
    """1 where the text does not repeat itself (2506.10947, appendix); see behaviours.repetition."""
    return float(not repetition(rollout.completion.text))


def marker(rollout: Rollout) -> float:
    """1 where the text opens with the embedded families' neutral word: a habit, and no merit."""
    return float(detectors.marker(rollout.completion.text))
