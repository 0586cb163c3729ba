"""Log-probabilities and entropies of given completions, by one forward pass over whole rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlvr_placebo.model.decoder import Decoder


class TokenRows(NamedTuple):
    """Prompts with their completions, padded on the right.

    Attributes:
        tokens_BT: prompt then completion then padding.
        prompts_B: length of each prompt.
        completions_B: length of each completion.
    """

    tokens_BT: Tensor
    prompts_B: Tensor
    completions_B: Tensor

    def completion_mask(self) -> Tensor:
        """Where, of C completion positions, a row has a token: bool ``[B, C]``."""
        longest = int(self.completions_B.max())
        return torch.arange(longest) < self.completions_B[:, None]

    def predicting_mask(self) -> Tensor:
        """The positions whose hidden state predicts a completion token: bool ``[B, T]``."""
        places = torch.arange(self.tokens_BT.shape[1])
        first = self.prompts_B[:, None] - 1
        return (places >= first) & (places < first + self.completions_B[:, None])


class TokenStatistics(NamedTuple):
    """Per completion token: log-probability (with gradient) and entropy (without), in nats."""

    logprobs_BC: Tensor
    entropies_BC: Tensor


def token_statistics(model: Decoder, rows: TokenRows, temperature: float) -> TokenStatistics:
    """Score completions under a model at a temperature.

    Logits are computed only where a completion token is predicted. Positions beyond a completion's
    end hold 0.

    Args:
        model: the decoder.
        rows: B prompts with completions of up to C tokens.
        temperature: the one they were sampled at.
    """
    positions_1T = torch.arange(rows.tokens_BT.shape[1])[None]
    hidden_ND = model(rows.tokens_BT, positions_1T)[rows.predicting_mask()]
    logprobs_NV = torch.log_softmax(model.logits(hidden_ND) / temperature, -1)
    mask_BC = rows.completion_mask()
    targets_N = rows.tokens_BT[:, 1:][rows.predicting_mask()[:, :-1]]
    chosen_N = logprobs_NV.gather(-1, targets_N[:, None])[:, 0]
    with torch.no_grad():
        entropies_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
    empty_BC = torch.zeros(mask_BC.shape)
    return TokenStatistics(
        empty_BC.masked_scatter(mask_BC, chosen_N), empty_BC.masked_scatter(mask_BC, entropies_N)
    )
