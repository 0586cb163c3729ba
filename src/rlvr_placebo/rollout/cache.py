"""The key-value cache of the rollout engine: prompts once per group, then one slot per token."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.decoder import Decoder, causal_attention

# A row's numbers must not depend on the batch around it. Sums over slots are vectorised, so their
# length is rounded up to whole blocks: a masked slot adds an exact zero, and no shorter tail is
# summed in another order. Matrix products of very few rows take another code path, so there are
# never fewer than MIN_ROWS. With both, logits of a row were bitwise equal in every batch tried;
# without, they differed by up to 4e-5 at logits of 24.
BLOCK = 16
MIN_ROWS = 4


def rounded(length: int) -> int:
    """Round a length up to whole blocks."""
    return -(-length // BLOCK) * BLOCK


class Cache:
    """Keys and values of B rows, preallocated; row b has its tokens in slots 0 … length_b − 1.

    Attributes:
        keys: one tensor ``[B, K, S, E]`` per layer.
        values: likewise.
        lengths_B: tokens held by each row.
    """

    def __init__(
        self, keys: list[Tensor], values: list[Tensor], lengths_B: Tensor, slots: int
    ) -> None:
        """Take the prompts' keys and values; ``slots`` is the room for prompt and completion."""
        self.keys = [self._widen(k, rounded(slots)) for k in keys]
        self.values = [self._widen(v, rounded(slots)) for v in values]
        self.lengths_B = lengths_B
        self._prepare()

    @staticmethod
    def _widen(x_BKTE: Tensor, slots: int) -> Tensor:
        rows, heads, filled, size = x_BKTE.shape
        wide = x_BKTE.new_zeros((rows, heads, slots, size))
        wide[:, :, :filled] = x_BKTE
        return wide

    def _prepare(self) -> None:
        """Work out, once per token, where each row writes and which slots it may read."""
        self._rows = torch.arange(len(self.lengths_B))
        self._filled = rounded(int(self.lengths_B.max()) + 1)
        slots = torch.arange(self._filled)
        self._readable = (slots <= self.lengths_B[:, None])[:, None, None, :]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write one new token per row, then attend to the row's own slots.

        Args:
            layer: index of the layer.
            query: ``[B, H, 1, E]``.
            key: ``[B, K, 1, E]``.
            value: ``[B, K, 1, E]``.
        """
        keys, values = self.keys[layer], self.values[layer]
        keys[self._rows, :, self.lengths_B] = key[:, :, 0]
        values[self._rows, :, self.lengths_B] = value[:, :, 0]
        return functional.scaled_dot_product_attention(
            query,
            keys[:, :, : self._filled],
            values[:, :, : self._filled],
            attn_mask=self._readable,
            enable_gqa=query.shape[1] != key.shape[1],
        )

    def advance(self) -> None:
        """Count the token just written in every row."""
        self.lengths_B = self.lengths_B + 1
        self._prepare()

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these: finished completions leave the batch."""
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]
        self.lengths_B = self.lengths_B[rows]
        self._prepare()


def prefill(
    model: Decoder, prompts_P: list[list[int]], copies_P: list[int], room: int
) -> tuple[Cache, Tensor]:
    """Read each prompt once and copy its keys and values to the rows of its group.

    Args:
        model: the decoder.
        prompts_P: token ids of P prompts.
        copies_P: rows wanted of each prompt.
        room: slots for new tokens.

    Returns:
        The cache of all rows, and the hidden state after each row's last prompt token ``[B, D]``.
    """
    a: Architecture = model.architecture
    lengths_P = torch.tensor([len(p) for p in prompts_P])
    longest = rounded(int(lengths_P.max()))
    tokens_PT = torch.zeros((len(prompts_P), longest), dtype=torch.long)
    for row, prompt in enumerate(prompts_P):
        tokens_PT[row, : len(prompt)] = torch.tensor(prompt)
    keys: list[Tensor] = [torch.empty(0)] * a.layers
    values: list[Tensor] = [torch.empty(0)] * a.layers

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys[layer], values[layer] = key, value
        return causal_attention(layer, query, key, value)

    hidden_PTD = model(tokens_PT, torch.arange(longest)[None], attend)
    last_PD = hidden_PTD[torch.arange(len(prompts_P)), lengths_P - 1]
    copies = torch.tensor(copies_P)
    rows = torch.repeat_interleave(torch.arange(len(prompts_P)), copies)
    cache = Cache([k[rows] for k in keys], [v[rows] for v in values], lengths_P[rows],
                  longest + room)  # fmt: skip
    return cache, last_PD[rows]
