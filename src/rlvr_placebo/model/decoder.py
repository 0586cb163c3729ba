"""One compact decoder for Qwen, Llama, Mistral, OLMo 2; parameters under Hugging Face names.

The forward pass is written once, for training and for generation: it takes the attention as an
argument. The learner passes causal attention over whole rows, the rollout engine attention over its
key-value cache, so the two cannot drift apart.

Shapes: B rows, T tokens, D hidden size, H heads, K key-value heads, E head dimension, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rlvr_placebo.model.architecture import Architecture, RopeScaling
from rlvr_placebo.model.products import NARROW, Joined, Linear, linear, scores, wide

# (layer, query [B,H,T,E], key [B,K,T,E], value [B,K,T,E]) -> [B,H,T,E]; T are the new tokens only.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def causal_attention(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of whole rows to themselves. Padding must stand to the right of every row."""
    del layer
    return attention(query, key, value)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention ``[B, H, T, E]``; causal without a mask.

    On a GPU no kernel that is fast takes float32 and key heads that are shared: they are repeated.
    """
    shared = query.shape[1] // key.shape[1]
    if shared > 1 and query.is_cuda and query.dtype not in NARROW:
        key, value = (x.repeat_interleave(shared, 1) for x in (key, value))
        shared = 1
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=shared > 1
    )


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned scale."""

    def __init__(self, size: int, eps: float) -> None:
        """Scale of ones over the last dimension."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``x / √(mean(x²) + ε) · weight``; sums are float32 whatever the numbers."""
        if x.dtype in NARROW:
            return functional.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)
        if torch.is_grad_enabled():
            return _Normed.apply(x, self.weight, self.eps)
        return x * _inverse_size(x, self.eps) * self.weight


def _inverse_size(x: Tensor, eps: float) -> Tensor:
    """``1 / √(mean(x²) + ε)`` over the last dimension, which is kept."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    if norm.requires_grad:  # elsewhere the gradient is written out
        return (norm * norm / x.shape[-1] + eps).rsqrt()
    return norm.mul_(norm).mul_(1 / x.shape[-1]).add_(eps).rsqrt_()


class _Normed(torch.autograd.Function):
    """RMSNorm whose backward pass goes through memory half as often as torch's on the CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:  # noqa: ANN401
        inverse = _inverse_size(x, eps)
        unit = x * inverse
        ctx.save_for_backward(unit, inverse, weight)
        return unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        unit, inverse, weight = ctx.saved_tensors
        pulled = grads[0] * unit
        along = torch.linalg.vecdot(pulled, weight)[..., None].mul_(-1 / unit.shape[-1])
        grad_x = torch.addcmul(grads[0] * weight, unit, along).mul_(inverse)
        return grad_x, pulled.reshape(-1, len(weight)).sum(0), None


class Attention(nn.Module):
    """Grouped-query self-attention with rotary positions."""

    def __init__(self, a: Architecture, layer: int) -> None:
        """Projections (and norms of queries and keys, where there are any) of one layer."""
        super().__init__()
        self.layer, self.head_dim, self.shares = layer, a.head_dim, (a.heads, a.kv_heads)
        queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
        self.q_proj = Linear(a.hidden_size, queries, bias=a.qkv_bias)
        self.k_proj = Linear(a.hidden_size, keys, bias=a.qkv_bias)
        self.v_proj = Linear(a.hidden_size, keys, bias=a.qkv_bias)
        self.o_proj = Linear(queries, a.hidden_size, bias=a.out_bias)
        self.joined = Joined("q_proj", "k_proj", "v_proj")
        self.norm_by_head = a.style.qk_norm == "head"
        if a.style.qk_norm:
            sizes = (a.head_dim, a.head_dim) if self.norm_by_head else (queries, keys)
            self.q_norm, self.k_norm = (RMSNorm(size, a.rms_norm_eps) for size in sizes)
        else:
            self.q_norm = self.k_norm = nn.Identity()

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """Project, rotate, attend, project back."""
        query, key, value = self.joined(self, x)
        both = torch.cat((self._normed(self.q_norm, query), self._normed(self.k_norm, key)), -1)
        query, key = rotate(self._heads(both), rotation).split(self.shares, 1)
        out_BHTE = attend(self.layer, query, key, self._heads(value))
        return self.o_proj(out_BHTE.transpose(1, 2).flatten(2))

    def _normed(self, norm: nn.Module, x_BTD: Tensor) -> Tensor:
        if self.norm_by_head:
            return norm(x_BTD.unflatten(-1, (-1, self.head_dim))).flatten(-2)
        return norm(x_BTD)

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class MLP(nn.Module):
    """Gated feed-forward block (SwiGLU)."""

    def __init__(self, a: Architecture) -> None:
        """Three projections without biases."""
        super().__init__()
        self.gate_proj = Linear(a.hidden_size, a.intermediate_size, bias=False)
        self.up_proj = Linear(a.hidden_size, a.intermediate_size, bias=False)
        self.down_proj = Linear(a.intermediate_size, a.hidden_size, bias=False)
        self.joined = Joined("gate_proj", "up_proj")

    def forward(self, x: Tensor) -> Tensor:
        """``down(silu(gate(x)) · up(x))``."""
        gate, up = self.joined(self, x)
        return self.down_proj(functional.silu(gate) * up)


class Layer(nn.Module):
    """Attention and MLP, each added to the residual stream."""

    def __init__(self, a: Architecture, layer: int) -> None:
        """One layer; where its norms stand depends on the architecture."""
        super().__init__()
        self.post_norm = a.style.post_norm
        self.self_attn = Attention(a, layer)
        self.mlp = MLP(a)
        if not self.post_norm:
            self.input_layernorm = RMSNorm(a.hidden_size, a.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(a.hidden_size, a.rms_norm_eps)
        if self.post_norm:
            self.post_feedforward_layernorm = RMSNorm(a.hidden_size, a.rms_norm_eps)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """Normalise before each block, or after it (OLMo 2)."""
        if self.post_norm:
            x = x + self.post_attention_layernorm(self.self_attn(x, rotation, attend))
            return x + self.post_feedforward_layernorm(self.mlp(x))
        x = x + self.self_attn(self.input_layernorm(x), rotation, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    """Embeddings, layers and the last norm (``model.*`` in a checkpoint)."""

    def __init__(self, a: Architecture) -> None:
        """All layers of the architecture."""
        super().__init__()
        self.embed_tokens = nn.Embedding(a.vocab_size, a.hidden_size)
        layers = [Layer(a, i) for i in range(a.layers)]
        self.layers = nn.ModuleList(layers)
        self.blocks = [block for one in layers for block in (one.self_attn, one.mlp)]
        self.norm = RMSNorm(a.hidden_size, a.rms_norm_eps)


class Decoder(nn.Module):
    """A causal language model: token ids in, hidden states and logits out.

    Attributes:
        checkpointing: keep only what enters each layer; compute the rest again for the gradient.
        compute: the numbers that are computed with, if not those of the weights.
        records: whether its forward pass may be recorded (it never waits for a GPU).
        remark: what a user should know of how it is computed.
    """

    remark = ""
    records = True
    compute: torch.dtype | None = None

    def __init__(self, architecture: Architecture) -> None:
        """Build with uninitialised weights; load a checkpoint or call :func:`initialise`."""
        super().__init__()
        self.architecture = architecture
        self.model = Backbone(architecture)
        if not architecture.tied:
            self.lm_head = Linear(architecture.hidden_size, architecture.vocab_size, bias=False)
        self.checkpointing = False
        self._table: tuple[Tensor, Tensor] | None = None
        self._reach = 0
        self._head: Tensor | None = None

    def forward(
        self, tokens_BT: Tensor, positions_BT: Tensor, attend: Attend = causal_attention
    ) -> Tensor:
        """Hidden states after the last norm.

        Args:
            tokens_BT: token ids.
            positions_BT: their positions in their rows, from 0; ``[1, T]`` where all rows agree.
            attend: the attention; by default of whole rows to themselves.

        Returns:
            ``[B, T, D]``; :meth:`logits` turns (a selection of) them into logits.
        """
        x = self.model.embed_tokens(tokens_BT)
        x = x if self.compute is None else x.to(self.compute)
        rotation = self._rotations(positions_BT)
        for layer in self.model.layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, rotation, attend, use_reentrant=False)
            else:
                x = layer(x, rotation, attend)
        return self.model.norm(x)

    @contextlib.contextmanager
    def at_rest(self) -> Generator[None]:
        """Promise that the weights stay as they are: what is made of them is made once."""
        blocks, alone = self.model.blocks, []
        for block in blocks:
            joined = block.joined.hold(block, self.compute)
            alone += [m for m in block.modules() if type(m) is Linear and m not in joined]
        for part in alone:
            part.hold(self.compute)
        if self.compute not in (None, self.head.dtype):
            self._head = self.head.detach().to(self.compute)
        try:
            yield
        finally:
            self._head, self._reach = None, 0
            for held in (*(block.joined for block in blocks), *alone):
                held.release()

    def reach(self, positions: int) -> None:
        """Promise that positions stay below a number; until the rest ends, nobody looks."""
        self._grow(positions)
        self._reach = positions

    def _grow(self, needed: int) -> tuple[Tensor, Tensor]:
        """The table of cosines and sines, of so many positions or more."""
        device, table = self.head.device, self._table
        if table is None or table[0].shape[2] < needed or table[0].device != device:
            known = torch.arange(1 << (needed - 1).bit_length(), device=device)
            with torch.inference_mode(mode=False):  # made while generating, it serves training too
                table = self._table = rotary(known[None].clone(), self.architecture)
        return table

    def _rotations(self, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines at these positions, from a table that grows as it is needed."""
        table = self._grow(self._reach or int(positions_BT.max()) + 1)
        cos, sin = (part[0, 0][positions_BT][:, None] for part in table)
        return (cos, sin) if self.compute is None else (cos.to(self.compute), sin.to(self.compute))

    @property
    def head(self) -> Tensor:
        """The matrix ``[V, D]`` that turns hidden states into logits."""
        return self.model.embed_tokens.weight if self.architecture.tied else self.lm_head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits ``[…, V]`` of hidden states ``[…, D]``; narrow numbers are widened."""
        if torch.is_grad_enabled():
            return wide(linear(hidden, self.head))
        head = self.head if self._head is None else self._head
        return scores(hidden, head.to(hidden.dtype))


def rotary(positions_BT: Tensor, a: Architecture) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary embedding, ``[B, 1, T, E]`` each (Su et al. 2021)."""
    exponents = torch.arange(0, a.head_dim, 2, device=positions_BT.device).float() / a.head_dim
    frequencies = 1.0 / a.rope_theta**exponents
    if a.rope_scaling:
        frequencies = _scaled(frequencies, a.rope_scaling)
    angles = positions_BT[..., None].float() * frequencies
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def _scaled(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Frequencies as :class:`RopeScaling` says."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)


def rotate(x_BHTE: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Apply the rotary embedding to queries or keys, in the checkpoints' half-split layout."""
    cos, sin = rotation
    first, second = x_BHTE.chunk(2, dim=-1)
    return torch.addcmul(x_BHTE * cos, torch.cat((second, first), dim=-1), sin)


def initialise(model: Decoder, seed: int, std: float = 0.02) -> None:
    """Draw every matrix from N(0, std²), set biases to 0 and norms to 1, from a seed of its own."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
