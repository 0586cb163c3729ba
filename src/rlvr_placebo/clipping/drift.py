"""Local drift: what one rollout under random rewards does to a habit, cell by cell.

From one fixed checkpoint, every batch of rollouts is learnt from in every cell, once with random
rewards r and once with 1 − r, so that what is left of the two is no luck of the rewards. What moves
is the log-odds of the lab's neutral marker (an opening word that has nothing to do with accuracy),
teacher-forced: no sampling noise. The estimand is cell − off.

An opening is one of several: the marker is the likelier habit where it is likelier than every other
opening, and the unlikelier where it is less likely than every other; else the lab expects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlvr_placebo.behaviours.detectors import MARKER
from rlvr_placebo.clipping.cells import BOTH, CELLS, OFF, Cell, cells
from rlvr_placebo.core.records import Score
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.core.statistics import Estimate, interval, mean_of_runs
from rlvr_placebo.learner.batch import Batch, make_batch
from rlvr_placebo.learner.learner import Learner, OptimizerConfig
from rlvr_placebo.learner.losses import LossConfig
from rlvr_placebo.model.checkpoint import load
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.device import CPU
from rlvr_placebo.model.logprobs import completion_logprobs
from rlvr_placebo.model.packing import TokenRows
from rlvr_placebo.text.problems import batch_for
from rlvr_placebo.train.collect import describe, generate
from rlvr_placebo.train.config import RolloutConfig, RunConfig
from rlvr_placebo.train.standalone import documented
from rlvr_placebo.train.trial import Trial, prepare
from rlvr_placebo.train.watch import Watch

DOCUMENT = "drift.json"
PANEL = 64  # prompts on which the marker's log-odds are read
OPENING = 0.05  # tokens of this share are openings that the marker is compared with
MISMATCH = 1e-3  # nats between rollout and learner before the first update: weights are not equal


@dataclass(frozen=True)
class Lab:
    """What is done in one cell of the laboratory.

    Attributes:
        model: the checkpoint every batch starts from.
        batches: of rollouts.
        problems: of a batch.
        samples: of each problem.
        updates: per batch.
        optimizer: ``sgd``, or ``adamw`` with fresh moments.
        learning_rate: of it; without a limit on the gradient's norm.
        epsilon: half-width of the clips' band.
        rate: γ of the random reward.
        seed: of everything.
    """

    model: str
    batches: int = 40
    problems: int = 16
    samples: int = 16
    updates: int = 8
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    epsilon: float = 0.1
    rate: float = 0.5
    seed: int = 0


def loss_of(cell: Cell) -> LossConfig:
    """The objective of a cell."""
    return LossConfig(
        clip_low=1 - cell.low if cell.low else None,
        clip_high=cell.high - 1 if np.isfinite(cell.high) else None,
    )


def local_drift(lab: Lab, watch: Watch) -> list[dict[str, Any]]:
    """Learn from every batch in every cell and read the marker's log-odds.

    Args:
        lab: what to do.
        watch: hears how many batches are done.

    Returns:
        One row per batch and cell: ``drift`` (the mean over rewards r and 1 − r), ``both`` of them,
        what the updates did (clip ratios by sign, over all tokens and at completions' first, KL,
        mismatch, gradient norm), entropies of the rollouts, and the share of prompts on which the
        marker's ratio ended beyond the band.
    """
    trial = prepare(_config(lab))
    model = trial.learner.model
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    panel = _panel(trial)
    side = likelier(model, panel)
    before_B = marker_logprobs(model, panel)
    before = log_odds(before_B)
    rows = []
    for number in range(1, lab.batches + 1):
        model.load_state_dict(start)  # the last cell of the batch before has moved it
        batch, entropies = _batch(trial, lab, number)
        masked = (0.0, 0.0)
        for name, cell in cells(lab.epsilon).items():
            moved, told = [], []
            for sign in (1.0, -1.0):
                model.load_state_dict(start)
                learner = _learner(model, lab, loss_of(cell))
                rng = generator_for(lab.seed, number, "", 0, "minibatches")
                signed = replace(batch, advantages_B=sign * batch.advantages_B)
                if cell.masked:
                    signed = signed.left_out(masked, rng.spawn(1)[0])
                metrics = learner.step(signed, rng)
                _same_weights(metrics)
                after_B = marker_logprobs(model, panel)
                moved.append(log_odds(after_B) - before)
                told.append(_told(metrics) | _beyond(after_B - before_B, lab.epsilon))
            means = {key: float(np.mean([one[key] for one in told])) for key in told[0]}
            if name == BOTH:  # the mask leaves out as much as both clips bind
                masked = _bound(means)
            rows.append(
                {"batch": number, "cell": name, "drift": float(np.mean(moved)), "both": moved,
                 "before": before, "side": side, **entropies, **means}
            )  # fmt: skip
        watch.progress("batches", number, lab.batches)
    model.load_state_dict(start)
    return rows


def _same_weights(metrics: Mapping[str, float]) -> None:
    """Refuse to learn from what other weights have written: every ratio would be wrong."""
    difference = metrics["mismatch/max_logprob_difference"]
    if difference > MISMATCH:
        raise RuntimeError(f"rollout and learner differ by {difference:.3g} nats before an update")


def _bound(means: Mapping[str, float]) -> tuple[float, float]:
    """Shares of first tokens, and of all tokens, that a clip bound."""
    first = sum(means[f"first_token/{side}_mean"] for side in ("high", "low"))
    return first, sum(means[f"clip_ratio/{side}_mean"] for side in ("high", "low"))


def _told(metrics: Mapping[str, float]) -> dict[str, float]:
    wanted = ("clip_ratio/high_mean", "clip_ratio/low_mean", "grad_norm", "kl_rollout",
              "max_ratio_deviation", "mismatch/max_logprob_difference")  # fmt: skip
    return {k: v for k, v in metrics.items() if k in wanted or k.startswith("first_token/")}


def measure_drift(lab: Lab, out: Path, watch: Watch) -> dict[str, Any]:
    """:func:`local_drift` in a directory of its own; done before, it is read.

    Raises:
        PlaceboError: the directory holds something else.
    """
    digest = load(lab.model, CPU).digest

    def work(directory: RunDirectory) -> dict[str, Any]:
        rows = local_drift(lab, watch)
        return {"lab": asdict(lab), "before": rows[0]["before"], "side": rows[0]["side"],
                "cells": estimate(rows), "rows": rows}  # fmt: skip

    return documented(out, {"lab": asdict(lab), "model_digest": digest}, True, DOCUMENT, work)


def estimate(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Cell − off, by cell: the mean over batches with its error and 95 % interval."""
    by = {(row["batch"], row["cell"]): row["drift"] for row in rows}
    batches = sorted({row["batch"] for row in rows})
    found = {}
    for cell in CELLS:
        values = [by[b, cell] - (0.0 if cell == OFF else by[b, OFF]) for b in batches]
        one: Estimate = mean_of_runs(values)
        found[cell] = {**one.as_dict(), "interval": spread_of(one, 0.95)}
    return found


def spread_of(one: Estimate, level: float) -> tuple[float, float]:
    """The interval of a mean over batches; a point where nothing differs between them."""
    value = one.value or 0.0
    return interval([one], level) or (value, value)


def _config(lab: Lab) -> RunConfig:
    return RunConfig(
        model=lab.model,
        reward="ground_truth",
        seed=lab.seed,
        device=CPU,
        pool="pocket-train@400",
        rollout=RolloutConfig(problems=lab.problems, samples=lab.samples, max_tokens=72),
    )


def _learner(model: Decoder, lab: Lab, loss: LossConfig) -> Learner:
    how = OptimizerConfig(
        name=lab.optimizer, learning_rate=lab.learning_rate, minibatches=lab.updates,
        max_grad_norm=0.0,
    )  # fmt: skip
    return Learner(model, loss, how, temperature=1.0, max_tokens=72)


def _batch(trial: Trial, lab: Lab, number: int) -> tuple[Batch, dict[str, float]]:
    """One batch of rollouts with random rewards, and their entropies (nats per token)."""
    problems = batch_for(trial.pool, lab.seed, number, lab.problems)
    groups = generate(trial, problems, number)
    rng = generator_for(lab.seed, number, "", 0, "reward")
    scored = [
        replace(group, rollouts=tuple(
            replace(r, score=Score(float(rng.random() < lab.rate), None)) for r in group.rollouts
        ))
        for group in groups
    ]  # fmt: skip
    described = describe(groups)
    entropies = {key: described[key] for key in ("entropy", "first_token/entropy")}
    return make_batch(scored, "group_std"), entropies


def _panel(trial: Trial) -> TokenRows:
    """Prompts, each with the marker's first token as its completion."""
    token = trial.checkpoint.tokenizer.encode(MARKER)[0]
    prompts = [trial.prompts[p.id] for p in trial.pool[:PANEL]]
    lengths = torch.tensor([len(p) for p in prompts])
    padded = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = torch.tensor(prompt)
    return TokenRows(
        padded, lengths, torch.full((len(prompts), 1), token),
        torch.ones(len(prompts), dtype=torch.long), torch.arange(len(prompts)),
    )  # fmt: skip


def likelier(model: Decoder, panel: TokenRows) -> int:
    """1 where the marker is likelier than every other opening, −1 where less likely, else 0.

    Args:
        model: the checkpoint.
        panel: prompts, with the marker's first token as their completion.
    """
    with torch.no_grad():
        columns = torch.arange(panel.prompts_PT.shape[1])
        hidden_PTD = model(panel.prompts_PT, columns[None])
        ends_PD = hidden_PTD[torch.arange(len(hidden_PTD)), panel.prompts_P - 1]
        shares_V = model.logits(ends_PD).softmax(-1).mean(0)
    marker = int(panel.completions_BC[0, 0])
    others = shares_V[(shares_V >= OPENING) & (torch.arange(len(shares_V)) != marker)]
    if (shares_V[marker] > others).all():
        return 1
    return -1 if (shares_V[marker] < others).all() else 0


def marker_log_odds(models: Sequence[str]) -> list[float]:
    """Mean log-odds of the marker over the panel, of checkpoints of one family."""
    panel = _panel(prepare(_config(Lab(models[0]))))
    return [log_odds(marker_logprobs(load(name, CPU).model, panel)) for name in models]


def marker_logprobs(model: Decoder, panel: TokenRows) -> np.ndarray:
    """Log-probability of the panel's completions of one token each, in float64."""
    with torch.no_grad():
        return completion_logprobs(model, panel, 1.0)[:, 0].double().numpy()


def log_odds(logprobs_B: np.ndarray) -> float:
    """Mean log-odds of tokens with these log-probabilities."""
    return float(np.mean(logprobs_B - np.log(-np.expm1(logprobs_B))))


def _beyond(log_ratio_B: np.ndarray, epsilon: float) -> dict[str, float]:
    """Share of the panel on which the marker's ratio left the band of both clips."""
    ratio_B, band = np.exp(log_ratio_B), cells(epsilon)[BOTH]
    return {"marker/above": float(np.mean(ratio_B > band.high)),
            "marker/below": float(np.mean(ratio_B < band.low))}  # fmt: skip
