"""From logits to tokens: one uniform per row through the inverse of the cumulative distribution."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.rollout.protocol import Sampling

FEW = 2048  # tokens of a vocabulary that is summed whole
BROKEN = "the model's logits are not finite: its weights are broken"


class Drawn(NamedTuple):
    """One token per row, with numbers of the distribution used, in nats.

    Log-probability of the token, entropy, and self-certainty KL(uniform ‖ p).
    """

    tokens_B: Tensor
    logprobs_B: Tensor
    entropies_B: Tensor
    certainties_B: Tensor


def draw(logits_BV: Tensor, uniforms_B: Tensor, sampling: Sampling, check: bool = True) -> Drawn:
    """Draw one token per row.

    The token is the first whose cumulative probability, in vocabulary order, exceeds the uniform.
    A change of the logits by rounding can therefore change the token only where the uniform lies
    within rounding of a boundary. Sums are taken in float64.

    Args:
        logits_BV: float32 logits.
        uniforms_B: float64 in [0, 1).
        sampling: temperature and top-p; at temperature 0 the likeliest token is taken, with
            log-probability and entropy 0.
        check: look whether logits are finite, which waits for the device; without it they have
            log-probabilities that are not.

    Raises:
        PlaceboError: the logits are not finite.
    """
    if sampling.temperature == 0:
        best_B, tokens_B = logits_BV.amax(-1), logits_BV.argmax(-1)
        if check:
            _check(best_B)
        zeros_B = torch.zeros_like(best_B).masked_fill_(~torch.isfinite(best_B), torch.nan)
        return Drawn(tokens_B, zeros_B, zeros_B, zeros_B)
    logprobs_BV = sampled_logprobs(logits_BV, sampling)
    probs_BV = logprobs_BV.exp()
    tokens_B, sums_B = _inverse(probs_BV, uniforms_B)
    if check:
        _check(sums_B)
    chosen_B = logprobs_BV.gather(-1, tokens_B[:, None])[:, 0]
    if sampling.top_p < 1.0:  # where a token is cut off, 0 · −∞ is 0
        entropies_B = -torch.xlogy(probs_BV, probs_BV).sum(-1)
        return Drawn(tokens_B, chosen_B, entropies_B, _certainties(logprobs_BV))
    entropies_B = -torch.linalg.vecdot(probs_BV, logprobs_BV)
    certainties_B = -logprobs_BV.mean(-1) - math.log(logprobs_BV.shape[-1])
    return Drawn(tokens_B, chosen_B, entropies_B, certainties_B)


def _inverse(probs_BV: Tensor, uniforms_B: Tensor) -> tuple[Tensor, Tensor]:
    """The first token whose cumulative probability exceeds the uniform, and the sums of all.

    In a large vocabulary first its block, then the token: sums of all of it cost too much.
    """
    vocabulary = probs_BV.shape[1]
    if vocabulary < FEW:
        cdf_BV = probs_BV.cumsum(-1, dtype=torch.float64)
        sums_B = cdf_BV[:, -1]
        found_B1 = torch.searchsorted(cdf_BV, (uniforms_B * sums_B)[:, None], right=True)
        return found_B1[:, 0].clamp_(max=vocabulary - 1), sums_B
    size = 1 << (math.isqrt(vocabulary).bit_length() - 1)
    fitting = vocabulary & -vocabulary  # the largest power of two that divides it
    size = fitting if 16 <= fitting < size else size
    if vocabulary % size:
        probs_BV = functional.pad(probs_BV, (0, -vocabulary % size))
    blocks_BNS = probs_BV.unflatten(1, (-1, size))
    cdf_BN = blocks_BNS.sum(-1, dtype=torch.float64).cumsum(-1)
    sums_B = cdf_BN[:, -1]
    target_B1 = (uniforms_B * sums_B)[:, None]
    block_B1 = torch.searchsorted(cdf_BN, target_B1, right=True).clamp_(max=cdf_BN.shape[1] - 1)
    before_B1 = torch.where(block_B1 > 0, cdf_BN.gather(1, (block_B1 - 1).clamp_(min=0)), 0.0)
    rows_B = torch.arange(len(probs_BV), device=probs_BV.device)
    block_BS = blocks_BNS[rows_B, block_B1[:, 0]]
    cdf_BS = block_BS.cumsum(-1, dtype=torch.float64)
    place_B1 = torch.searchsorted(cdf_BS, target_B1 - before_B1, right=True)
    # Summed in another order the block may end a rounding short: then it is its last likely token.
    last_B1 = size - 1 - (block_BS > 0).flip(-1).to(torch.uint8).argmax(-1, keepdim=True)
    found_B1 = block_B1 * size + torch.minimum(place_B1, last_B1)
    return found_B1[:, 0].clamp_(max=vocabulary - 1), sums_B


def _certainties(logprobs_BV: Tensor) -> Tensor:
    """KL(uniform ‖ p) in nats, over the tokens that can be sampled (top-p cuts some off)."""
    kept_BV = torch.isfinite(logprobs_BV)
    kept_B = kept_BV.sum(-1)
    return -torch.where(kept_BV, logprobs_BV, 0.0).sum(-1) / kept_B - kept_B.log()


def _check(numbers_B: Tensor) -> None:
    if not math.isfinite(float(numbers_B.sum())):  # one of them is not, or their sum is far off
        raise PlaceboError(BROKEN)


def sampled_logprobs(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities of the distribution that is sampled: after temperature and top-p."""
    scaled_BV = logits_BV if sampling.temperature == 1.0 else logits_BV / sampling.temperature
    logprobs_BV = torch.log_softmax(scaled_BV, -1)
    if sampling.top_p >= 1.0:
        return logprobs_BV
    ordered_BV, order_BV = logprobs_BV.sort(stable=True, dim=-1, descending=True)
    before_BV = ordered_BV.exp().cumsum(-1, dtype=torch.float64) - ordered_BV.exp()
    dropped_BV = torch.zeros_like(logprobs_BV, dtype=torch.bool)
    dropped_BV.scatter_(-1, order_BV, before_BV >= sampling.top_p)
    dropped_BV.scatter_(-1, order_BV[:, :1], value=False)  # the likeliest token always stays
    return torch.log_softmax(logprobs_BV.masked_fill(dropped_BV, -torch.inf), -1)
