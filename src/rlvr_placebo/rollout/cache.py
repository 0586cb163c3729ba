"""The key-value cache of the rollout engine: a prompt's once for its whole group, a row's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.decoder import Decoder, causal_attention
from rlvr_placebo.model.packing import Layout
from rlvr_placebo.model.products import round_up, rounded, wide

# A row's numbers must not depend on the batch around it. Sums over slots are vectorised, so their
# length is rounded up to whole blocks: a masked slot adds an exact zero, and no shorter tail is
# summed in another order. Matrix products of very few rows take another code path, so there are
# never fewer than MIN_ROWS. With both, logits of a row of the shipped families were bitwise equal
# in every batch tried; without, they differed by up to 4e-5 at logits of 24. Prompts beyond 190
# tokens, and 5 or 7 queries to a key, still differ by 1e-6 to 1e-5 (docs/architecture.md).
BLOCK = 16
MIN_ROWS = 4


class Cache:
    """Keys and values of P prompts and of the B rows that complete them.

    Rows of a prompt stand together and read its keys from one place. Slot t of a row's own keys is
    its t-th new token, so that all rows write the same slot. The slots of all rows lie without a
    gap, and grow with what is written: a product that skips over empty ones reads half as fast.

    Attributes:
        lengths_B: tokens held of each row, prompt included: the position of its next token.
        written: new tokens of every row.
    """

    def __init__(
        self, keys: list[Tensor], values: list[Tensor], lengths_P: Tensor, copies_P: Tensor,
        room: int, repeats: int,
    ) -> None:  # fmt: skip
        """Take the prompts' keys and values, ``[P, K, T, E]`` per layer.

        Args:
            keys: of the prompts, padded on the right.
            values: likewise.
            lengths_P: tokens of each prompt.
            copies_P: rows wanted of each prompt.
            room: new tokens of every row.
            repeats: query heads of each key-value head.
        """
        prompts, heads, longest, size = keys[0].shape
        self._prompt_keys = [k.transpose(2, 3).contiguous() for k in keys]
        self._prompt_values = [v.contiguous() for v in values]
        padding_PT = torch.arange(longest) >= lengths_P[:, None]
        self._hidden_PT = keys[0].new_zeros((prompts, longest)).masked_fill(padding_PT, -torch.inf)
        self._least = round_up(MIN_ROWS, repeats) // repeats
        self._prompt_B = torch.repeat_interleave(torch.arange(prompts), copies_P)
        self.lengths_B = lengths_P[self._prompt_B]
        self.written = 0
        self._room = room
        nothing = keys[0].new_zeros((len(self._prompt_B), heads, 0, size))
        self._keys, self._values = [nothing] * len(keys), [nothing] * len(values)
        self._grow()
        self._deal()

    def _grow(self) -> None:
        """Make room for more new tokens: a block, or an eighth of what is written."""
        slots = min(self.written + max(BLOCK, self.written // 8), self._room)
        more = round_up(slots, BLOCK) - self.written
        rows, heads, _, size = self._keys[0].shape
        zeros = self._keys[0].new_zeros((rows, heads, more, size))
        self._keys = [torch.cat((k, zeros), 2) for k in self._keys]
        self._values = [torch.cat((v, zeros), 2) for v in self._values]
        self._later = self._hidden_PT.new_full((1, 1, self.written + more), -torch.inf)
        self._later[..., : self.written + 1] = 0

    def _deal(self) -> None:
        """Lay the rows out as prompts × places, where a prompt's rows share one matrix product."""
        prompts, longest = self._hidden_PT.shape
        counts_P = torch.bincount(self._prompt_B, minlength=prompts)
        first_P = counts_P.cumsum(0) - counts_P
        self._places = max(int(counts_P.max()), self._least)
        rank_B = torch.arange(len(self._prompt_B)) - first_P[self._prompt_B]
        self._place_B = self._prompt_B * self._places + rank_B
        self._full = len(self._place_B) == prompts * self._places
        heads = self._keys[0].shape[1]
        self._hidden = self._hidden_PT[:, None].expand(-1, heads, -1).reshape(-1, 1, longest)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write one new token per row, then attend to the row's prompt and its own tokens.

        Args:
            layer: index of the layer.
            query: ``[B, H, 1, E]``.
            key: ``[B, K, 1, E]``.
            value: ``[B, K, 1, E]``.
        """
        rows, heads, _, size = query.shape
        keys, values = self._keys[layer], self._values[layer]
        keys[:, :, self.written] = key[:, :, 0]
        values[:, :, self.written] = value[:, :, 0]
        query_BKRE = query.reshape(rows, keys.shape[1], -1, size)
        scale, prompt_keys = size**-0.5, self._prompt_keys[layer].flatten(0, 1)
        own_keys = keys.flatten(0, 1).transpose(1, 2)
        own = torch.baddbmm(self._later, query_BKRE.flatten(0, 1), own_keys, alpha=scale)
        own = own.view(*query_BKRE.shape[:3], -1)
        shared = self._apart(
            torch.baddbmm(self._hidden, self._together(query_BKRE), prompt_keys, alpha=scale)
        )
        slots = shared.shape[-1]
        weights = wide(torch.cat((shared, own), -1)).softmax(-1).to(query.dtype)
        said = self._together(weights[..., :slots]).bmm(self._prompt_values[layer].flatten(0, 1))
        out = torch.baddbmm(
            self._apart(said).flatten(0, 1),
            weights[..., slots:].flatten(0, 1),
            values.flatten(0, 1),
        )
        return out.view(rows, heads, 1, size)

    def _together(self, x_BKRE: Tensor) -> Tensor:
        """``[B, K, R, E]`` to ``[P · K, places · R, E]``; places without a row hold zeros."""
        _, heads, repeats, size = x_BKRE.shape
        if not self._full:
            wide = x_BKRE.new_zeros((len(self._hidden_PT) * self._places, heads, repeats, size))
            x_BKRE = wide.index_copy_(0, self._place_B, x_BKRE)
        apart = x_BKRE.view(-1, self._places, heads, repeats, size)
        return apart.transpose(1, 2).reshape(len(apart) * heads, -1, size)

    def _apart(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`_together`."""
        _, rows, size = x.shape
        repeats, prompts = rows // self._places, len(self._hidden_PT)
        x = x.view(prompts, -1, self._places, repeats, size).transpose(1, 2)
        x = x.reshape(prompts * self._places, -1, repeats, size)
        return x if self._full else x.index_select(0, self._place_B)

    def advance(self) -> None:
        """Count the token just written in every row."""
        self.written += 1
        self.lengths_B = self.lengths_B + 1
        if self.written < self._later.shape[-1]:
            self._later[..., self.written] = 0
        elif self.written < self._room:
            self._grow()

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these (in ascending order), and prompts that none of them completes."""
        self._keys = [k[rows] for k in self._keys]
        self._values = [v[rows] for v in self._values]
        self.lengths_B = self.lengths_B[rows]
        left, self._prompt_B = torch.unique(self._prompt_B[rows], return_inverse=True)
        if len(left) < len(self._hidden_PT):
            self._prompt_keys = [k[left] for k in self._prompt_keys]
            self._prompt_values = [v[left] for v in self._prompt_values]
            self._hidden_PT = self._hidden_PT[left]
        self._deal()


class Read(NamedTuple):
    """What a model makes of P prompts.

    Attributes:
        keys: per layer, ``[P, K, T, E]``, padded on the right.
        values: likewise.
        lengths_P: tokens of each prompt.
        last_PD: the hidden state after each prompt's last token.
    """

    keys: list[Tensor]
    values: list[Tensor]
    lengths_P: Tensor
    last_PD: Tensor


def read_prompts(model: Decoder, prompts_P: Sequence[Sequence[int]]) -> Read:
    """Read each prompt once.

    Args:
        model: the decoder.
        prompts_P: token ids of P prompts, none of them empty.
    """
    a: Architecture = model.architecture
    device = model.head.device
    lengths_P = torch.tensor([len(p) for p in prompts_P])
    within_PT = torch.arange(round_up(int(lengths_P.max()), BLOCK)) < lengths_P[:, None]
    layout = Layout(within_PT, device)
    filling = round_up(rounded(layout.count), BLOCK) - layout.count  # tokens that mean nothing
    tokens_N = torch.tensor([token for prompt in prompts_P for token in prompt])
    positions_N = torch.arange(within_PT.shape[1]).expand_as(within_PT)[within_PT]
    keys: list[Tensor] = [torch.empty(0)] * a.layers
    values: list[Tensor] = [torch.empty(0)] * a.layers

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        joint_NHE = torch.cat((query, key, value), 1)[0].transpose(0, 1)
        padded = layout.spread(joint_NHE).transpose(1, 2)
        query, keys[layer], values[layer] = padded.split((a.heads, a.kv_heads, a.kv_heads), 1)
        out = causal_attention(layer, query, keys[layer], values[layer])
        out_NHE = layout.gather(out.transpose(1, 2))
        return functional.pad(out_NHE, (0, 0, 0, 0, 0, filling)).transpose(0, 1)[None]

    asked = (functional.pad(x_N, (0, filling))[None].to(device) for x_N in (tokens_N, positions_N))
    hidden_ND = model(*asked, attend)[0]
    lengths_P = lengths_P.to(device)
    return Read(keys, values, lengths_P, hidden_ND[lengths_P.cumsum(0) - 1])


def prefill(
    model: Decoder, prompts_P: list[list[int]], copies_P: list[int], room: int
) -> tuple[Cache, Tensor]:
    """Read each prompt once, for all rows of its group.

    Args:
        model: the decoder.
        prompts_P: token ids of P prompts.
        copies_P: rows wanted of each prompt.
        room: slots for new tokens.

    Returns:
        The cache of all rows, and the hidden state after each row's last prompt token ``[B, D]``.
    """
    read = read_prompts(model, prompts_P)
    copies = torch.tensor(copies_P)
    repeats = model.architecture.heads // model.architecture.kv_heads
    cache = Cache(read.keys, read.values, read.lengths_P, copies, room, repeats)
    return cache, torch.repeat_interleave(read.last_PD, copies, 0)
