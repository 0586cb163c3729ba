"""From groups to tensors: the batch of one step, its minibatches and micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlvr_placebo.core.records import Group
from rlvr_placebo.learner.advantages import advantages
from rlvr_placebo.model.logprobs import TokenRows


@dataclass(frozen=True, eq=False)
class Batch:
    """All completions of one step as padded tensors; rows of a group stand together.

    Example: 16 groups of 16 give ``rows.tokens_BT`` of shape [256, 112], ``advantages_B`` of [256].

    Attributes:
        rows: prompts with completions.
        rollout_logprobs_BC: as sampled.
        mask_BC: which completion tokens count in the loss.
        advantages_B: float32.
        groups_B: index of each row's group.
    """

    rows: TokenRows
    rollout_logprobs_BC: Tensor
    mask_BC: Tensor
    advantages_B: Tensor
    groups_B: Tensor

    def __len__(self) -> int:
        """Number of rows B."""
        return len(self.advantages_B)

    def select(self, index: Tensor) -> Batch:
        """Some rows, cut to their own longest row and completion."""
        prompts_B, completions_B = self.rows.prompts_B[index], self.rows.completions_B[index]
        width, length = int((prompts_B + completions_B).max()), int(completions_B.max())
        return Batch(
            TokenRows(self.rows.tokens_BT[index, :width], prompts_B, completions_B),
            self.rollout_logprobs_BC[index, :length],
            self.mask_BC[index, :length],
            self.advantages_B[index],
            self.groups_B[index],
        )

    def minibatches(self, count: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Split into ``count`` parts of nearly equal size, groups in random order but together."""
        order = rng.permutation(int(self.groups_B.max()) + 1)
        rows = np.concatenate([np.flatnonzero(self.groups_B.numpy() == g) for g in order])
        for part in np.array_split(rows, count):
            yield self.select(torch.from_numpy(part))

    def microbatches(self, tokens: int) -> Iterator[Batch]:
        """Split into parts of at most ``tokens`` padded tokens (at least one row), by length."""
        widths = (self.rows.prompts_B + self.rows.completions_B).numpy()
        order = np.argsort(widths, kind="stable")
        start = 0
        for end in range(1, len(order) + 1):
            is_last = end == len(order)
            if is_last or (end + 1 - start) * widths[order[end]] > tokens:
                yield self.select(torch.from_numpy(order[start:end].copy()))
                start = end


def make_batch(groups: Sequence[Group], advantage: str) -> Batch:
    """Collect scored groups.

    Args:
        groups: every rollout must have its score.
        advantage: how advantages are normalised.
    """
    advantages_B = np.concatenate([advantages(rewards_of(g), advantage) for g in groups])
    rollouts = [(g.prompt, r.completion) for g in groups for r in g.rollouts]
    prompts = [len(p) for p, _ in rollouts]
    completions = [len(c) for _, c in rollouts]
    width = max(p + c for p, c in zip(prompts, completions, strict=True))
    tokens_BT = np.zeros((len(rollouts), width), dtype=np.int64)
    logprobs_BC = np.zeros((len(rollouts), max(completions)), dtype=np.float32)
    mask_BC = np.zeros(logprobs_BC.shape, dtype=bool)
    for b, (prompt, completion) in enumerate(rollouts):
        tokens_BT[b, : len(prompt)] = prompt
        tokens_BT[b, len(prompt) : len(prompt) + len(completion)] = completion.tokens
        logprobs_BC[b, : len(completion)] = completion.logprobs
        mask_BC[b, : len(completion)] = completion.loss_mask
    sizes = [len(g.rollouts) for g in groups]
    return Batch(
        TokenRows(torch.from_numpy(tokens_BT), torch.tensor(prompts), torch.tensor(completions)),
        torch.from_numpy(logprobs_BC),
        torch.from_numpy(mask_BC),
        torch.from_numpy(advantages_B.astype(np.float32)),
        torch.from_numpy(np.repeat(np.arange(len(groups)), sizes)),
    )


def rewards_of(group: Group) -> list[float | None]:
    """The rewards of a scored group, in order."""
    return [None if r.score is None else r.score.reward for r in group.rollouts]
