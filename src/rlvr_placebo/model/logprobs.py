"""Log-probabilities of given completions, with their gradient, in bounded memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rlvr_placebo.model import packing
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.packing import Packed, TokenRows
from rlvr_placebo.model.products import product, scores, wide

CHUNK = 1 << 22  # logits held at a time: 16 MiB of float32
WIDER = 64  # times as many on a GPU, where it is launching that costs


def completion_logprobs(model: Decoder, rows: TokenRows, temperature: float) -> Tensor:
    """Log-probability of every completion token under a model at a temperature, in nats.

    Each prompt is read once for all its completions, and logits are computed only where one of
    their tokens is predicted. Positions beyond a completion's end hold 0.

    Args:
        model: the decoder.
        rows: B completions of up to C tokens.
        temperature: the one they were sampled at.

    Returns:
        ``[B, C]``, with gradient, on the CPU wherever the model is.
    """
    device = model.head.device
    kind = model.compute or model.head.dtype
    packed = Packed(
        rows, device, packing.takes_any_lengths(device, kind, model.architecture.head_dim)
    )
    hidden_ND = model(packed.tokens_1N, packed.positions_1N, packed.attend)[0]
    chosen_M = _Chosen.apply(
        hidden_ND.index_select(0, packed.scored_S),
        model.head,
        packed.source_M,
        packed.targets_M,
        1.0 / temperature,
    ).cpu()
    mask_BC = packed.rows.completion_mask()
    laid_BC = chosen_M.new_zeros(mask_BC.shape).masked_scatter(mask_BC, chosen_M)
    wanting = rows.completions_BC.shape[1] - mask_BC.shape[1]
    return functional.pad(laid_BC.index_select(0, packed.order_B.argsort()), (0, wanting))


class _Chosen(torch.autograd.Function):
    """Log-probabilities of chosen tokens, without rows × vocabulary in memory.

    Logits are computed in chunks of rows. A single chunk keeps its log-probabilities for the
    gradient; several are computed again, since holding all of them is what is to be avoided.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        hidden_SD: Tensor,
        head_VD: Tensor,
        source_M: Tensor,
        targets_M: Tensor,
        coldness: float,
    ) -> Tensor:
        ctx.save_for_backward(hidden_SD, head_VD, source_M, targets_M)
        ctx.coldness, ctx.kept = coldness, None
        chosen_M = wide(hidden_SD.new_empty(len(source_M)))
        chunks = _chunks(hidden_SD, head_VD, source_M)
        head = head_VD.to(hidden_SD.dtype)
        for place, members in chunks:
            logprobs = _logprobs(hidden_SD[place], head, coldness)
            local = source_M[members] - place.start
            chosen_M[members] = logprobs[local, targets_M[members]]
            if len(chunks) == 1:
                ctx.kept = logprobs
        return chosen_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:  # noqa: ANN401
        """``∂ log p(v) / ∂ logits = 1[v] − p``, summed over the tokens that a row predicts."""
        hidden_SD, head_VD, source_M, targets_M = ctx.saved_tensors
        grad_M = grads[0] * ctx.coldness
        total_S = grad_M.new_zeros(len(hidden_SD)).index_add_(0, source_M, grad_M)
        kind = hidden_SD.dtype
        head = head_VD.to(kind)
        head_DV = head.t().contiguous()
        grad_SD, grad_VD = torch.empty_like(hidden_SD), None
        for place, members in _chunks(hidden_SD, head_VD, source_M):
            kept, ctx.kept = ctx.kept, None
            logprobs = _logprobs(hidden_SD[place], head, ctx.coldness) if kept is None else kept
            grad_SV = logprobs.exp_().mul_(-total_S[place, None])
            where = (source_M[members] - place.start) * len(head_VD) + targets_M[members]
            grad_SV.view(-1).index_add_(0, where, grad_M[members])
            grad_SV = grad_SV.to(kind)
            grad_SD[place] = product(grad_SV, head_DV)
            if not ctx.needs_input_grad[1]:  # a frozen head, beside adapters
                continue
            if grad_VD is None:
                grad_VD = product(grad_SV.t(), hidden_SD[place].t()).to(head_VD.dtype)
            elif kind == head_VD.dtype:  # a second vocabulary × hidden would be the largest array
                grad_VD.addmm_(grad_SV.t(), hidden_SD[place])
            else:
                grad_VD += product(grad_SV.t(), hidden_SD[place].t())
        return grad_SD, grad_VD, None, None, None


def _logprobs(hidden_SD: Tensor, head_VD: Tensor, coldness: float) -> Tensor:
    logits_SV = scores(hidden_SD, head_VD)
    return torch.log_softmax(logits_SV if coldness == 1.0 else logits_SV.mul_(coldness), -1)


def _chunks(
    hidden_SD: Tensor, head_VD: Tensor, source_M: Tensor
) -> list[tuple[slice, Tensor | slice]]:
    """Rows at a time, and which of the M tokens they predict."""
    held = CHUNK if hidden_SD.device.type == "cpu" else WIDER * CHUNK
    size = max(1, held // len(head_VD))
    if len(hidden_SD) <= size:
        return [(slice(0, len(hidden_SD)), slice(None))]
    places = [slice(s, s + size) for s in range(0, len(hidden_SD), size)]
    return [
        (place, ((source_M >= place.start) & (source_M < place.stop)).nonzero()[:, 0])
        for place in places
    ]
