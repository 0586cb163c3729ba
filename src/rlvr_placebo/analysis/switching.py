"""Strategy switching: who wrote code before training and after, and what that did to the answers.

The analysis of arXiv 2506.10947 (§4, figure 7, table 2): problems in four cells by the strategy
before and after, and what each cell contributes to the gain. Choosing cells by how a problem came
out before makes it look as if training had moved it: the same of two independent evaluations of the
untrained model stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlvr_placebo.analysis.quality import ratio
from rlvr_placebo.core.statistics import clustered_mean

CELLS = ("code_code", "code_language", "language_code", "language_language")


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of one model to P problems, N each.

    Attributes:
        code_P_N: whether they are in code.
        correct_P_N: whether they are right; unknown ones count as wrong.
        clusters: of the problems.
    """

    code_P_N: np.ndarray
    correct_P_N: np.ndarray
    clusters: tuple[str, ...]


def contributions(counts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Per cent of the gain that falls to each cell, of counts (n, right before, right after).

    Raises:
        ValueError: nothing was gained, so that there is nothing to share out.
    """
    gains = {cell: after - before for cell, (_, before, after) in counts.items()}
    total = sum(gains.values())
    if total == 0:
        raise ValueError("the gain is 0: there is nothing to share out")
    return {cell: 100.0 * gain / total for cell, gain in gains.items()}


def accuracy_before(counts: Mapping[str, Sequence[int]], strategy: str) -> float:
    """Accuracy before training of the answers in ``code`` or in ``language``, of such counts."""
    own = [row for cell, row in counts.items() if cell.startswith(f"{strategy}_")]
    return sum(row[1] for row in own) / sum(row[0] for row in own)


def switching(before: Answers, pairs: Sequence[tuple[Answers, Answers]]) -> dict[str, Any]:
    """The four cells of some runs together, and of the untrained model against itself.

    Sample i before is compared with sample i after; the control compares sample i of the untrained
    model with its sample i + 1, which was drawn independently.

    Args:
        before: the untrained model's answers.
        pairs: per training seed, the answers before and after.

    Returns:
        ``cells``: n, right before, right after, what the cell adds to accuracy (``gain``, a share
        of one), and its share of the whole gain (``contribution``; None where that is not twice its
        error), both with errors over problems; ``control``: the same cells without training, None
        where there is one sample only.
    """
    samples = before.code_P_N.shape[1]
    turned = Answers(
        np.roll(before.code_P_N, -1, 1), np.roll(before.correct_P_N, -1, 1), before.clusters
    )
    control = _cells([(before, turned)]) if samples > 1 else None
    return {"cells": _cells(pairs), "control": control, "samples": samples, "seeds": len(pairs)}


def _cells(pairs: Sequence[tuple[Answers, Answers]]) -> dict[str, Any]:
    clusters = pairs[0][0].clusters
    gain_P = np.mean([(a.correct_P_N - b.correct_P_N.astype(float)).mean(1) for b, a in pairs], 0)
    whole = clustered_mean(gain_P, clusters, "cluster")
    sure = (
        whole.value is not None
        and whole.stderr is not None
        and abs(whole.value) > 2 * whole.stderr > 0
    )
    found = {}
    for cell in CELLS:
        was, became = (name == "code" for name in cell.split("_"))
        n = right_before = right_after = 0
        own = []
        for b, a in pairs:
            inside = (b.code_P_N == was) & (a.code_P_N == became)
            n += int(inside.sum())
            right_before += int((b.correct_P_N & inside).sum())
            right_after += int((a.correct_P_N & inside).sum())
            own.append(((a.correct_P_N.astype(float) - b.correct_P_N) * inside).mean(1))
        share = ratio(np.mean(own, 0), gain_P, clusters) if sure else None
        found[cell] = {
            "n": n,
            "correct_before": right_before,
            "correct_after": right_after,
            "gain": clustered_mean(np.mean(own, 0), clusters, "cluster").as_dict(),
            "contribution": share.as_dict() if share else None,
        }
    return found
