"""Prompts and completions in one row of tokens: each prompt once, and no padding.

The learner's forward pass works on N tokens in a row: those of P prompts, then those of B
completions, the short ones first. Only attention knows where one ends: it spreads them out, those
of like length together, lets a completion read the keys of its prompt, and gathers what comes out.

Shapes: P prompts of up to T tokens, B completions of up to C, H heads, K key-value heads, E head
dimension, N tokens in all.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rlvr_placebo.model.decoder import Attend, attention, causal_attention
from rlvr_placebo.model.products import NARROW, rounded

LARGEST = 256  # heads that flash attention takes
WORTH = 1 << 15  # pairs of tokens whose attention takes as long as one more call of it


class TokenRows(NamedTuple):
    """Completions and the prompts they stand behind, padded on the right.

    Example: 16 completions of each of two prompts have ``prompts_PT`` of two rows, and
    ``prompt_B`` is sixteen zeros and sixteen ones.

    Attributes:
        prompts_PT: prompt then padding.
        prompts_P: length of each prompt, at least 1.
        completions_BC: completion then padding.
        completions_B: length of each completion.
        prompt_B: which prompt a completion stands behind.
    """

    prompts_PT: Tensor
    prompts_P: Tensor
    completions_BC: Tensor
    completions_B: Tensor
    prompt_B: Tensor

    def completion_mask(self) -> Tensor:
        """Where, of C completion positions, a row has a token: bool ``[B, C]``."""
        return torch.arange(self.completions_BC.shape[1]) < self.completions_B[:, None]

    def select(self, index: Tensor) -> TokenRows:
        """Some completions with their prompts, cut to the longest of each."""
        left, prompt_B = torch.unique(self.prompt_B[index], return_inverse=True)
        prompts_P, completions_B = self.prompts_P[left], self.completions_B[index]
        return TokenRows(
            self.prompts_PT[left, : int(prompts_P.max())],
            prompts_P,
            self.completions_BC[index, : int(completions_B.max())],
            completions_B,
            prompt_B,
        )


class Packed:
    """The tokens of some rows in one, and the attention that knows where each belongs.

    The last token of a completion is not among them: nothing is predicted from it.

    Attributes:
        rows: the rows in the order in which they are laid out.
        order_B: which of the given rows each of them is.
        tokens_1N: token ids.
        positions_1N: positions in their own rows.
        scored_S: places of the N whose hidden state predicts a completion token; both N and S are
            filled up with tokens that mean nothing (:func:`rlvr_placebo.model.products.rounded`).
        source_M: for each of the M completion tokens, row by row, which of the S predicts it.
        targets_M: these tokens.
    """

    def __init__(self, rows: TokenRows, device: torch.device, joined: bool = False) -> None:
        """Lay out the tokens of ``rows``.

        Args:
            rows: on the CPU.
            device: where their model is.
            joined: attend by a kernel for rows of any length (:class:`_Joined`).
        """
        self.order_B = rows.completions_B.argsort(stable=True)
        self.rows = rows = rows.select(self.order_B)
        prompts, longest = rows.prompts_PT.shape
        inputs_B = (rows.completions_B - 1).clamp(min=0)
        width = int(inputs_B.max())
        in_prompt = torch.arange(longest) < rows.prompts_P[:, None]
        in_completion = torch.arange(width) < inputs_B[:, None]
        begins_B = rows.prompts_P[rows.prompt_B]
        positions_PT = torch.arange(longest).expand(prompts, -1)
        positions_BC = begins_B[:, None] + torch.arange(width)
        cut_BC = rows.completions_BC[:, :width]
        first = int(rows.prompts_P.sum())
        count = first + int(inputs_B.sum())
        filling = rounded(count) - count
        tokens_N = torch.cat((rows.prompts_PT[in_prompt], cut_BC[in_completion]))
        positions_N = torch.cat((positions_PT[in_prompt], positions_BC[in_completion]))
        self.tokens_1N = functional.pad(tokens_N, (0, filling))[None].to(device)
        self.positions_1N = functional.pad(positions_N, (0, filling))[None].to(device)
        last_P = rows.prompts_P.cumsum(0) - 1
        scored_S = torch.cat((last_P, torch.arange(first, count)))
        wanting = rounded(len(scored_S)) - len(scored_S)
        self.scored_S = functional.pad(scored_S, (0, wanting)).to(device)
        mask_BC = rows.completion_mask()
        before_B = prompts + inputs_B.cumsum(0) - inputs_B
        source_BC = before_B[:, None] + torch.arange(mask_BC.shape[1]) - 1
        source_BC[:, :1] = rows.prompt_B[:, None]
        self.source_M = source_BC[mask_BC].to(device)
        self.targets_M = rows.completions_BC[mask_BC].to(device)
        self.attend: Attend = (_Joined if joined else _Spread)(rows, filling, device)


class _Spread:
    """Attention of packed tokens: spread out as padded rows, those of like length together."""

    def __init__(self, rows: TokenRows, filling: int, device: torch.device) -> None:
        """Know where the tokens of ``rows`` stand, and how many behind them mean nothing."""
        longest = rows.prompts_PT.shape[1]
        inputs_B = (rows.completions_B - 1).clamp(min=0)
        self._filling = filling
        self._prompts = Layout(torch.arange(longest) < rows.prompts_P[:, None], device)
        self._parts = [_Part(rows, cut, device) for cut in cuts(inputs_B, longest)]

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend, every token to its own prompt and completion; see ``decoder.Attend``."""
        heads, kv = query.shape[1], key.shape[1]
        parts = [x[0].transpose(0, 1) for x in (query, key, value)]
        joint_NHE = torch.cat(parts, 1)  # moved as one
        counts = (self._prompts.count, *(part.layout.count for part in self._parts), self._filling)
        prompt, *completions, filling = joint_NHE.split(counts)
        q, k, v = self._prompts.spread(prompt).transpose(1, 2).split((heads, kv, kv), 1)
        outs = [self._prompts.gather(causal_attention(layer, q, k, v).transpose(1, 2))]
        for part, completion in zip(self._parts, completions, strict=True):
            spread = part.layout.spread(completion).transpose(1, 2)
            asking, own, said = spread.split((heads, kv, kv), 1)
            keys = torch.cat((k.index_select(0, part.prompt_B), own), 2)
            values = torch.cat((v.index_select(0, part.prompt_B), said), 2)
            found = attention(asking, keys, values, part.mask.to(q.dtype))
            outs.append(part.layout.gather(found.transpose(1, 2)))
        return torch.cat((*outs, filling[:, :heads])).transpose(0, 1)[None]


class _Part:
    """Completions of like length, spread out together.

    Attributes:
        layout: of their tokens.
        prompt_B: which prompt each stands behind.
        mask: 0 where a token may look, −∞ elsewhere: ``[B, 1, C, T + C]``.
    """

    def __init__(self, rows: TokenRows, cut: tuple[int, int], device: torch.device) -> None:
        """Take rows from one to another."""
        start, stop = cut
        inputs_B = rows.completions_B[start:stop] - 1
        longest, width = rows.prompts_PT.shape[1], int(inputs_B.max())
        self.layout = Layout(torch.arange(width) < inputs_B[:, None], device)
        prompt_B = rows.prompt_B[start:stop]
        padding_PT = torch.arange(longest) >= rows.prompts_P[:, None]
        mask = torch.zeros((stop - start, 1, width, longest + width))
        mask[..., :longest].masked_fill_(padding_PT[prompt_B][:, None, None], -torch.inf)
        mask[..., longest:] = torch.full((width, width), -torch.inf).triu(1)
        self.prompt_B, self.mask = prompt_B.to(device), mask.to(device)


class _Joined:
    """Attention of packed tokens by a kernel that takes rows of any length, one behind the other.

    Each row is a completion behind its prompt, so a prompt is attended to once for each of its
    completions; its own tokens are taken from the first.
    """

    def __init__(self, rows: TokenRows, filling: int, device: torch.device) -> None:
        """Know where the tokens of ``rows`` stand, and how many behind them mean nothing."""
        prompts_P, prompt_B = rows.prompts_P, rows.prompt_B
        inputs_B = (rows.completions_B - 1).clamp(min=0)
        ends_P = prompts_P.cumsum(0)
        ends_B = int(ends_P[-1]) + inputs_B.cumsum(0)
        sources, places_P = [], torch.empty_like(prompts_P).fill_(-1)
        completions, lengths, size = [], [], 0
        for row, prompt in enumerate(prompt_B.tolist()):
            before, own = int(prompts_P[prompt]), int(inputs_B[row])
            if places_P[prompt] < 0:
                places_P[prompt] = size
            elif own == 0:
                continue
            sources.append(torch.arange(int(ends_P[prompt]) - before, int(ends_P[prompt])))
            sources.append(torch.arange(int(ends_B[row]) - own, int(ends_B[row])))
            completions.append(torch.arange(size + before, size + before + own))
            lengths.append(before + own)
            size += before + own
        prompts = [torch.arange(int(at), int(at) + int(n))
                   for at, n in zip(places_P, prompts_P, strict=True)]  # fmt: skip
        self._source_J = torch.cat(sources).to(device)
        back_N = torch.cat((*prompts, *completions))
        self._back_N = functional.pad(back_N, (0, filling)).to(device)
        borders = functional.pad(torch.tensor(lengths).cumsum(0), (1, 0))
        self._borders, self._longest = borders.to(device, torch.int32), max(lengths)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend, every token to its own prompt and completion; see ``decoder.Attend``."""
        del layer
        heads, kv = query.shape[1], key.shape[1]
        joint_NHE = torch.cat([x[0].transpose(0, 1) for x in (query, key, value)], 1)
        q, k, v = joint_NHE.index_select(0, self._source_J).split((heads, kv, kv), 1)
        out_JHE = any_lengths(q, k, v, self._borders, self._longest)
        return out_JHE.index_select(0, self._back_N).transpose(0, 1)[None]


def takes_any_lengths(device: torch.device, kind: torch.dtype, head_dim: int) -> bool:
    """Whether :func:`any_lengths` works there, on such numbers and heads."""
    if device.type != "cuda" or kind not in NARROW or head_dim % 8 or head_dim > LARGEST:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def any_lengths(q_JHE: Tensor, k: Tensor, v: Tensor, borders: Tensor, longest: int) -> Tensor:
    """Causal attention of rows of any length that stand one behind the other, on a GPU.

    Args:
        q_JHE: queries of all J tokens, in bfloat16 or float16.
        k: their keys ``[J, K, E]``.
        v: their values.
        borders: int32, where each row begins, and where the last one ends.
        longest: tokens of the longest row.
    """
    from torch.nn.attention import varlen

    known = inspect.signature(varlen.varlen_attn).parameters
    shared: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in known else {}
    rows = (borders, borders, longest, longest)
    found = varlen.varlen_attn(
        q_JHE.contiguous(), k.contiguous(), v.contiguous(), *rows, window_size=(-1, 0), **shared
    )
    return found if isinstance(found, Tensor) else found[0]


def cuts(lengths_B: Tensor, prompt: int) -> list[tuple[int, int]]:
    """Where to cut rows, sorted by length, so that little attention is spent on padding.

    Args:
        lengths_B: ascending lengths; rows of length 0 are left out.
        prompt: tokens of the longest prompt.

    Returns:
        Slices of rows: a further cut would save fewer than :data:`WORTH` pairs of tokens.
    """
    lengths = lengths_B.numpy()
    pairs = lengths * (prompt + lengths)  # of one row, padded to this length

    def cut(start: int, stop: int) -> list[tuple[int, int]]:
        rows = np.arange(start, stop)
        saved = (rows - start) * (pairs[stop - 1] - pairs[rows - 1]) if stop - start > 1 else [0]
        best = int(np.argmax(saved))
        if saved[best] < WORTH:
            return [(start, stop)]
        return cut(start, start + best) + cut(start + best, stop)

    first = int(np.count_nonzero(lengths == 0))
    return cut(first, len(lengths)) if first < len(lengths) else []


class Layout:
    """Tokens in a row, and the same as padded rows.

    Attributes:
        count: tokens.
    """

    def __init__(self, mask: Tensor, device: torch.device) -> None:
        """Take where the padded rows have a token (bool ``[rows, width]``), and where to work."""
        self.shape = mask.shape
        packed = mask.flatten().nonzero()[:, 0]  # of the padded places, those with a token
        self.count = len(packed)
        padded = torch.zeros(mask.numel(), dtype=torch.long)  # padding repeats the first token
        padded[packed] = torch.arange(self.count)
        self.packed, self.padded = packed.to(device), padded.to(device)

    def spread(self, x_NHE: Tensor) -> Tensor:
        """``[N, H, E]`` to ``[rows, width, H, E]``."""
        return _Copied.apply(x_NHE, self.padded, self.packed).unflatten(0, self.shape)

    def gather(self, x: Tensor) -> Tensor:
        """``[rows, width, H, E]`` to ``[N, H, E]``."""
        return x.flatten(0, 1).index_select(0, self.packed)


class _Copied(torch.autograd.Function):
    """Copies of tokens. What padding sends back is zero, so it is not summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, padded: Tensor, packed: Tensor) -> Tensor:  # noqa: ANN401
        ctx.packed = packed
        return x.index_select(0, padded)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        return grads[0].index_select(0, ctx.packed), None, None
