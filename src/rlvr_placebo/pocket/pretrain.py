"""Pre-train one family on its corpus: next-token loss on every token, prompts included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from rlvr_placebo.core.seeds import generator_for, seed_for
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.decoder import Decoder, initialise
from rlvr_placebo.pocket.corpus import documents
from rlvr_placebo.pocket.prior import Prior
from rlvr_placebo.text.tokenizer import Tokenizer

IGNORE = -100


@dataclass(frozen=True)
class Pretraining:
    """How a family is pre-trained. Example: ``Pretraining(steps=200)`` for a quick look."""

    steps: int = 6000
    rows: int = 64
    learning_rate: float = 4e-3
    warmup: int = 100
    weight_decay: float = 0.01
    hidden_size: int = 64
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    intermediate_size: int = 160


def pocket_architecture(model_type: str, vocab_size: int, settings: Pretraining) -> Architecture:
    """The shape of an embedded family (fewer than half a million parameters)."""
    return Architecture(
        model_type=model_type,
        vocab_size=vocab_size,
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        heads=settings.heads,
        kv_heads=settings.kv_heads,
        head_dim=settings.hidden_size // settings.heads,
        intermediate_size=settings.intermediate_size,
        max_positions=512,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        tied=True,
        attention_bias=False,
    )


def batches(
    prior: Prior, tokenizer: Tokenizer, settings: Pretraining, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (tokens, targets) ``[B, T]``: fresh documents, sorted by length to save padding."""
    texts = documents(prior, seed)
    pool = 32
    for index in range(math.ceil(settings.steps / pool)):
        pairs = list(islice(texts, pool * settings.rows))
        ids = tokenizer.encode_many([prompt + solution for prompt, solution in pairs])
        rows = sorted(([*row, tokenizer.stops[0]] for row in ids), key=len)
        for i in generator_for(seed, 0, "", index, "pretraining order").permutation(pool):
            yield _pad(rows[i * settings.rows : (i + 1) * settings.rows])


def _pad(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    targets = torch.tensor([row + [IGNORE] * (longest - len(row)) for row in rows])
    return tokens[:, :-1], targets[:, 1:]


def pretrain(
    prior: Prior,
    tokenizer: Tokenizer,
    settings: Pretraining,
    seed: int,
    report: Callable[[int, float], None],
) -> Decoder:
    """Train a decoder from scratch on a family's corpus; deterministic for one machine and thread.

    Args:
        prior: the family.
        tokenizer: the families' tokenizer.
        settings: size and optimisation.
        seed: the pre-training seed: weights, documents, order.
        report: called after every step with its number and loss (nats per token).
    """
    model = Decoder(pocket_architecture(prior.architecture, tokenizer.size, settings))
    initialise(model, seed_for(seed, 0, "", 0, "initial weights"))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
        foreach=True,
    )
    for step, (tokens_BT, targets_BT) in enumerate(batches(prior, tokenizer, settings, seed), 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        hidden_BTD = model(tokens_BT, torch.arange(tokens_BT.shape[1])[None])
        logits_NV = model.logits(hidden_BTD[targets_BT != IGNORE])
        loss = functional.cross_entropy(logits_NV, targets_BT[targets_BT != IGNORE])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        report(step, loss.item())
        if step == settings.steps:
            break
    return model


def _schedule(step: int, settings: Pretraining) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step <= settings.warmup:
        return step / settings.warmup
    progress = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.5 * (1.0 + math.cos(math.pi * progress))
