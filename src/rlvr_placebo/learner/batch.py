"""From groups to tensors: the batch of one step, its minibatches and micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rlvr_placebo.core.records import Group
from rlvr_placebo.learner.advantages import advantages
from rlvr_placebo.model.packing import TokenRows


@dataclass(frozen=True, eq=False)
class Batch:
    """All completions of one step as padded tensors; rows of a group stand together.

    Example: 16 groups of 16 have ``rows.prompts_PT`` of shape [16, 58], ``rows.completions_BC`` of
    [256, 64] and ``advantages_B`` of [256].

    Attributes:
        rows: completions with their prompts, one per group.
        rollout_logprobs_BC: as sampled.
        mask_BC: which completion tokens count in the loss.
        advantages_B: float32.
        kept_BC: tokens of the mask whose gradient is taken; None: of all. The others still count
            where lengths do.
        proximal_BC: log-probabilities of the learner before the step, where they are asked for.
    """

    rows: TokenRows
    rollout_logprobs_BC: Tensor
    mask_BC: Tensor
    advantages_B: Tensor
    kept_BC: Tensor | None = None
    proximal_BC: Tensor | None = None

    def __len__(self) -> int:
        """Number of rows B."""
        return len(self.advantages_B)

    def select(self, index: Tensor) -> Batch:
        """Some rows, cut to their own longest prompt and completion."""
        rows = self.rows.select(index)
        length = rows.completions_BC.shape[1]
        return Batch(
            rows,
            self.rollout_logprobs_BC[index, :length],
            self.mask_BC[index, :length],
            self.advantages_B[index],
            None if self.kept_BC is None else self.kept_BC[index, :length],
            None if self.proximal_BC is None else self.proximal_BC[index, :length],
        )

    def left_out(self, shares: tuple[float, float], rng: np.random.Generator) -> Batch:
        """The batch without the gradient of random tokens, which still count where lengths do.

        Args:
            shares: of first tokens, and of all tokens, that are left out.
            rng: decides which.
        """
        first, every = shares
        firsts, tokens = float(self.mask_BC[:, 0].sum()), float(self.mask_BC.sum())
        share_BC = np.full(self.mask_BC.shape, every)
        if tokens > firsts:
            share_BC[:] = max(0.0, every * tokens - first * firsts) / (tokens - firsts)
        share_BC[:, 0] = first
        return replace(self, kept_BC=torch.from_numpy(rng.random(share_BC.shape) >= share_BC))

    def minibatches(self, count: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Split into ``count`` parts of nearly equal size, groups in random order but together."""
        order = rng.permutation(len(self.rows.prompts_P))
        rows = np.concatenate([np.flatnonzero(self.rows.prompt_B.numpy() == g) for g in order])
        for part in np.array_split(rows, count):
            yield self.select(torch.from_numpy(part))

    def microbatches(self, tokens: int) -> Iterator[Batch]:
        """Split into parts of at most ``tokens`` tokens (at least one row each)."""
        prompts, lengths = self.rows.prompts_P.tolist(), self.rows.completions_B.tolist()
        start, size, seen = 0, 0, -1
        for row, prompt in enumerate(self.rows.prompt_B.tolist()):
            size += lengths[row] + (prompts[prompt] if prompt != seen else 0)
            if size > tokens and row > start:
                yield self.select(torch.arange(start, row))
                start, size = row, lengths[row] + prompts[prompt]
            seen = prompt
        if len(self):
            yield self.select(torch.arange(start, len(self))) if start else self


def make_batch(groups: Sequence[Group], advantage: str) -> Batch:
    """Collect scored groups.

    Args:
        groups: every rollout must have its score.
        advantage: how advantages are normalised.
    """
    advantages_B = np.concatenate([advantages(rewards_of(g), advantage) for g in groups])
    completions = [r.completion for g in groups for r in g.rollouts]
    lengths = np.array([len(c) for c in completions])
    prompts_P = np.array([len(g.prompt) for g in groups])
    completions_BC = np.zeros((len(completions), lengths.max()), dtype=np.int64)
    logprobs_BC = np.zeros(completions_BC.shape, dtype=np.float32)
    mask_BC = np.zeros(completions_BC.shape, dtype=bool)
    for b, (completion, n) in enumerate(zip(completions, lengths, strict=True)):
        completions_BC[b, :n] = completion.tokens
        logprobs_BC[b, :n] = completion.logprobs
        mask_BC[b, :n] = completion.loss_mask
    prompts_PT = np.zeros((len(groups), prompts_P.max()), dtype=np.int64)
    for p, group in enumerate(groups):
        prompts_PT[p, : prompts_P[p]] = group.prompt
    prompt_B = np.repeat(np.arange(len(groups)), [len(g.rollouts) for g in groups])
    return Batch(
        TokenRows(
            torch.from_numpy(prompts_PT),
            torch.from_numpy(prompts_P),
            torch.from_numpy(completions_BC),
            torch.from_numpy(lengths),
            torch.from_numpy(prompt_B),
        ),
        torch.from_numpy(logprobs_BC),
        torch.from_numpy(mask_BC),
        torch.from_numpy(advantages_B.astype(np.float32)),
    )


def rewards_of(group: Group) -> list[float | None]:
    """The rewards of a scored group, in order."""
    return [None if r.score is None else r.score.reward for r in group.rollouts]
