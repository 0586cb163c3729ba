"""The policy-gradient loss: pure; tensors and a frozen configuration in, loss and sums out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossConfig:
    """Which objective is optimised. The defaults are GRPO as the paper prints it."""

    advantage: str = "group_std"
    """``group_std`` (GRPO), ``group_mean`` (Dr. GRPO) or ``leave_one_out`` (RLOO)."""
    aggregation: str = "sequence_mean"
    """``sequence_mean`` (GRPO), ``token_mean`` (DAPO) or ``constant`` (Dr. GRPO)."""
    ratio: str = "token"
    """Importance ratio per ``token`` (GRPO) or per ``sequence`` (GSPO)."""
    clip_low: float | None = 0.2
    """Ratios below 1 − clip_low are clipped where the advantage is negative; or off."""
    clip_high: float | None = 0.2
    """Ratios above 1 + clip_high are clipped where the advantage is positive; or off."""
    kl: float = 0.0
    """Coefficient of the KL penalty to the untrained model; no reference model when it is 0."""
    masked: float = 0.0
    """Share of gradients left out at random, token by token: a clip that knows nothing."""
    tis_cap: float | None = None
    """Weight tokens by their probability of the learner over that of the rollout engine, at most
    by this much (truncated importance sampling, token by token whatever the ratio); or off."""


AGGREGATIONS = ("sequence_mean", "token_mean", "constant")
RATIOS = ("token", "sequence")


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """What the loss compares, for B completions of up to C tokens.

    Attributes:
        rollout_logprobs_BC: of the distribution that sampled the tokens; the ratio's denominator.
        advantages_B: one per completion.
        mask_BC: which tokens count.
        reference_logprobs_BC: of the untrained model, where a KL penalty asks for them.
        proximal_logprobs_BC: of an intermediate policy (decoupled PPO; Hilton et al. 2022): the
            ratio is then taken to it, and weighted by proximal over rollout probability, cut off at
            ``tis_cap``. It is that of the learner before the step where the cap is set (truncated
            importance sampling; Ionides 2008; for rollout engines Yao et al. 2025).
        kept_BC: tokens whose gradient is taken, where some are left out.
    """

    rollout_logprobs_BC: Tensor
    advantages_B: Tensor
    mask_BC: Tensor
    reference_logprobs_BC: Tensor | None = None
    proximal_logprobs_BC: Tensor | None = None
    kept_BC: Tensor | None = None


def denominator(mask_BC: Tensor, aggregation: str, max_tokens: int) -> float:
    """What the summed loss of a whole minibatch is divided by.

    Computed once for the minibatch and passed to :func:`policy_loss` for every part of it, so that
    any split into micro-batches gives the same gradient.

    Args:
        mask_BC: the mask of *all* completions of the minibatch.
        aggregation: ``sequence_mean``: B; ``token_mean``: tokens; ``constant``: B · max_tokens.
        max_tokens: the longest completion that sampling allows.
    """
    if aggregation == "token_mean":
        return max(1.0, float(mask_BC.sum()))
    return float(len(mask_BC)) * (max_tokens if aggregation == "constant" else 1)


def policy_loss(
    logprobs_BC: Tensor, batch: TokenBatch, divisor: float, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    r"""Clipped surrogate loss of GRPO and its relatives.

    .. math::
        L = \frac1{\text{divisor}} \sum_{b,t} w_{bt}\,\bigl[-\min(\rho_{bt} A_b,\;
            \mathrm{clip}(\rho_{bt}, 1-\epsilon_\text{low}, 1+\epsilon_\text{high})\, A_b)
            + \beta\,\mathrm{KL}_{bt}\bigr]

    with :math:`\rho` the importance ratio (Shao et al. 2024, 2402.03300, eq. 3; per sequence: Zheng
    et al. 2025, 2507.18071), :math:`w = 1/|o_b|` for ``sequence_mean`` and 1 otherwise, and KL the
    estimator :math:`e^{d} - d - 1`, :math:`d = \log\pi_\text{ref} - \log\pi`. A clip that is off is
    an infinite band on that side: the ratio itself is then optimised, never the bare probability.

    Args:
        logprobs_BC: of the policy that is trained, with gradient.
        batch: what they are compared with.
        divisor: from :func:`denominator`, of the whole minibatch.
        config: the objective.

    Returns:
        The loss (a scalar), and sums over tokens for the metrics (keys ``max_…`` are maxima).
    """
    mask_BC = batch.mask_BC.to(logprobs_BC.dtype)
    proximal_BC = batch.proximal_logprobs_BC
    anchor_BC = batch.rollout_logprobs_BC if proximal_BC is None else proximal_BC
    log_ratio_BC = (logprobs_BC - anchor_BC) * mask_BC
    if config.ratio == "sequence":
        lengths_B1 = mask_BC.sum(-1, keepdim=True).clamp(min=1)
        log_ratio_BC = (log_ratio_BC.sum(-1, keepdim=True) / lengths_B1).expand_as(log_ratio_BC)
    ratio_BC = log_ratio_BC.exp()
    advantages_B1 = batch.advantages_B[:, None]
    clipped_BC = ratio_BC.clamp(*_band(config))
    loss_BC = -torch.minimum(ratio_BC * advantages_B1, clipped_BC * advantages_B1)
    weight_BC = None
    if proximal_BC is not None:
        weight_BC = (proximal_BC - batch.rollout_logprobs_BC).exp()
        loss_BC = loss_BC * weight_BC.clamp(max=_cap(config))
    if batch.kept_BC is not None:
        loss_BC = loss_BC * batch.kept_BC
    kl_BC = None
    if batch.reference_logprobs_BC is not None:
        distance_BC = (batch.reference_logprobs_BC - logprobs_BC) * mask_BC
        kl_BC = distance_BC.exp() - distance_BC - 1
        loss_BC = loss_BC + config.kl * kl_BC
    loss = (loss_BC * _weights(mask_BC, config)).sum() / divisor
    with torch.no_grad():
        moved_BC = (logprobs_BC - batch.rollout_logprobs_BC) * mask_BC
        seen = (ratio_BC, advantages_B1.expand_as(ratio_BC), moved_BC)
        sums = _sums(seen, batch.mask_BC, config)
        difference_BC = moved_BC.abs()
        sums["max_logprob_difference"] = difference_BC.max()
        sums["logprob_difference"] = difference_BC.sum()
        sums["max_first_token_logprob_difference"] = difference_BC[:, 0].max()
        if kl_BC is not None:
            sums["kl"] = kl_BC.sum()
        if weight_BC is not None:
            sums["tis_weight"] = (weight_BC.clamp(max=_cap(config)) * mask_BC).sum()
            sums["tis_capped"] = ((weight_BC > _cap(config)) & batch.mask_BC).sum()
    return loss, sums


def _band(config: LossConfig) -> tuple[float, float]:
    """Smallest and largest ratio that is not clipped."""
    low = 0.0 if config.clip_low is None else 1.0 - config.clip_low
    high = float("inf") if config.clip_high is None else 1.0 + config.clip_high
    return low, high


def _cap(config: LossConfig) -> float:
    """The largest weight of a token for being likelier in the learner than in the engine."""
    return float("inf") if config.tis_cap is None else config.tis_cap


def _weights(mask_BC: Tensor, config: LossConfig) -> Tensor:
    """Weight of every token before the division."""
    if config.aggregation != "sequence_mean":
        return mask_BC
    return mask_BC / mask_BC.sum(-1, keepdim=True).clamp(min=1)


def _sums(
    seen: tuple[Tensor, Tensor, Tensor], mask_BC: Tensor, config: LossConfig
) -> dict[str, Tensor]:
    """Token counts for the metrics, from ratios, advantages, and log-ratios to the rollout.

    A clip *binds* where it changed the gradient: the upper one only on positive advantages, the
    lower one only on negative ones. ``outside`` counts ratios beyond the band on the other sign,
    where the minimum leaves the gradient alone. The first token is counted on its own too: it is
    where a completion decides how it will go on.
    """
    first = _counts(*(x_BC[:, :1] for x_BC in seen), mask_BC[:, :1], config)
    return {
        **_counts(*seen, mask_BC, config),
        "max_ratio_deviation": ((seen[0] - 1).abs() * mask_BC).max(),
        **{f"first_token_{name}": first[name] for name in FIRST_TOKEN},
    }


FIRST_TOKEN = ("scored", "positive", "negative", "high_bound", "low_bound", "kl_rollout")


def _counts(
    ratio_BC: Tensor, advantages_BC: Tensor, moved_BC: Tensor, mask_BC: Tensor, config: LossConfig
) -> dict[str, Tensor]:
    low, high = _band(config)
    below, above = (ratio_BC < low) & mask_BC, (ratio_BC > high) & mask_BC
    positive, negative = (advantages_BC > 0) & mask_BC, (advantages_BC < 0) & mask_BC
    return {
        "scored": mask_BC.sum(),
        "positive": positive.sum(),
        "negative": negative.sum(),
        "high_bound": (above & positive).sum(),
        "low_bound": (below & negative).sum(),
        "high_outside": (above & negative).sum(),
        "low_outside": (below & positive).sum(),
        "kl_rollout": ((moved_BC.exp() - 1 - moved_BC) * mask_BC).sum(),
    }
