"""Pre-train a decoder on a corpus: next-token loss on every token, prompts included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from rlvr_placebo.core.files import write_atomic
from rlvr_placebo.core.seeds import generator_for, seed_for
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.decoder import Decoder, initialise
from rlvr_placebo.model.folders import read_tensors
from rlvr_placebo.pocket.corpus import documents
from rlvr_placebo.pocket.prior import Prior
from rlvr_placebo.text.tokenizer import Tokenizer

IGNORE = -100
POOL = 32  # batches cut from one lot of documents
KEEP = 10 * POOL  # steps between two states a killed pre-training can go on from


@dataclass(frozen=True)
class Stage:
    """One stage of pre-training. Example: ``Stage(steps=200, learning_rate=4e-3)``.

    Attributes:
        steps: optimizer steps.
        learning_rate: its peak; linear warm-up, then a cosine to zero.
        practice: share of problems whose operation graph occurs in no set.
        rows: documents of a step.
        warmup: steps of warm-up.
        weight_decay: AdamW's.
    """

    steps: int
    learning_rate: float
    practice: float = 0.0
    rows: int = 64
    warmup: int = 100
    weight_decay: float = 0.01


def pocket_architecture(model_type: str, vocab_size: int) -> Architecture:
    """The shape of an embedded family (fewer than half a million parameters)."""
    return Architecture(
        model_type=model_type,
        vocab_size=vocab_size,
        hidden_size=64,
        layers=3,
        heads=4,
        kv_heads=2,
        head_dim=16,
        intermediate_size=160,
        max_positions=2048,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        tied=True,
        attention_bias=False,
    )


def batches(
    prior: Prior, tokenizer: Tokenizer, stage: Stage, seed: int, done: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (tokens, targets) ``[B, T]``: fresh documents, sorted by length to save padding.

    The first ``done`` batches (a multiple of :data:`POOL`) are left out.
    """
    texts = documents(prior, seed, stage.practice)
    lot = POOL * stage.rows
    if done:
        next(islice(texts, done * stage.rows - 1, None))
    for index in range(done // POOL, math.ceil(stage.steps / POOL)):
        lotted = list(islice(texts, lot))
        ids = tokenizer.encode_many([d.prompt + d.solution for d in lotted])
        heads = tokenizer.encode_many([(d.prompt + d.solution[: d.quiet]) * bool(d.quiet)
                                       for d in lotted])  # fmt: skip
        rows = [
            ([*row, tokenizer.stops[0]], len(head)) for row, head in zip(ids, heads, strict=True)
        ]
        rows.sort(key=lambda row: len(row[0]))
        for i in generator_for(seed, 0, "", index, "pretraining order").permutation(POOL):
            yield _pad(rows[i * stage.rows : (i + 1) * stage.rows])


def _pad(rows: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """Rows of one length; of each, so many leading tokens are no targets."""
    longest = max(len(row) for row, _ in rows)
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row, _ in rows])
    targets = torch.tensor(
        [[IGNORE] * quiet + row[quiet:] + [IGNORE] * (longest - len(row)) for row, quiet in rows]
    )
    return tokens[:, :-1], targets[:, 1:]


def new_model(architecture: str, tokenizer: Tokenizer, seed: int) -> Decoder:
    """A decoder with random weights, in the shape of the embedded families."""
    model = Decoder(pocket_architecture(architecture, tokenizer.size))
    initialise(model, seed_for(seed, 0, "", 0, "initial weights"))
    return model


@dataclass(frozen=True)
class Keeper:
    """Where a pre-training leaves what a killed one goes on from, and who hears of every step.

    Attributes:
        state: a file; removed at the end.
        report: called after every step with its number, the number of steps, and the loss (nats per
            token).
    """

    state: Path
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None


def pretrain(
    model: Decoder, prior: Prior, tokenizer: Tokenizer, stage: Stage, seed: int, keeper: Keeper
) -> None:
    """Train a decoder on a corpus, in place; deterministic for one machine and thread.

    Args:
        model: the decoder.
        prior: the habits the corpus is written in.
        tokenizer: the families' tokenizer.
        stage: length and optimisation.
        seed: of documents and order.
        keeper: a killed pre-training with the same state file goes on, and ends in the same bytes.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=stage.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=stage.weight_decay,
        foreach=True,
    )
    done = _restore(keeper.state, model, optimizer)
    for step, (tokens_BT, targets_BT) in enumerate(
        batches(prior, tokenizer, stage, seed, done), done + 1
    ):
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * _schedule(step, stage)
        hidden_BTD = model(tokens_BT, torch.arange(tokens_BT.shape[1])[None])
        logits_NV = model.logits(hidden_BTD[targets_BT != IGNORE])
        loss = functional.cross_entropy(logits_NV, targets_BT[targets_BT != IGNORE])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        keeper.report(step, stage.steps, loss.item())
        if step == stage.steps:
            break
        if step % KEEP == 0:
            _keep(keeper.state, model, optimizer, step)
    keeper.state.unlink(missing_ok=True)


def _keep(path: Path, model: Decoder, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write weights, moments and the step to one file."""
    tensors = {f"model.{k}": v.detach() for k, v in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in moments.items()}
    write_atomic(path, save({**tensors, "step": torch.tensor(step)}))


def _restore(path: Path, model: Decoder, optimizer: torch.optim.Optimizer) -> int:
    """Go back to the state of a killed pre-training; the number of steps it had done."""
    if not path.exists():
        return 0
    tensors = read_tensors(path)
    step = int(tensors.pop("step"))
    with torch.no_grad():
        for name, parameter in model.state_dict().items():
            parameter.copy_(tensors.pop(f"model.{name}"))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        _, index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return step


def _schedule(step: int, stage: Stage) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step <= stage.warmup:
        return step / stage.warmup
    progress = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return 0.5 * (1.0 + math.cos(math.pi * progress))
