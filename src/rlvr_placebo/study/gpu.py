"""What runs of a published model would take on a GPU: arithmetic from its shape, nothing measured.

Assumed: an accelerator of 80 GB with 3.35 TB/s and 989 dense bf16 TFLOP/s (an H100), decoding at
60 % of its bandwidth, prefill and updates at 45 % of its arithmetic, all completions of a step
decoded at once or as many as memory holds, and completions of a stated mean length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rlvr_placebo.evaluate.contract import EvaluationConfig
from rlvr_placebo.learner.learner import OptimizerConfig
from rlvr_placebo.model.adapter import LoraConfig
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.published import PAPER_MODELS, parameters
from rlvr_placebo.train.config import RolloutConfig, RunConfig
from rlvr_placebo.train.memory import Needs, evaluation_needs, needs

MEAN_TOKENS = 800  # of a completion; Qwen2.5-Math writes some 600 to 1,000 on MATH
MEMORY, BANDWIDTH, ARITHMETIC = 80e9, 3.35e12, 989e12  # bytes, bytes/s, FLOP/s
DECODING, MATRICES = 0.60, 0.45  # shares of them that are reached
PROMPT_TOKENS = 150
# Problems of the benchmarks that a plan may name without having them at hand.
SIZES = {"math-500": 500, "amc": 83, "aime-2024": 30, "aime-2025": 30, "gsm8k": 1319,
         "deepscaler": 40315}  # fmt: skip
HALF = 2  # bytes per number in bf16
NARROW = "bfloat16"


@dataclass(frozen=True)
class Reckoned:
    """What some runs of one model would take.

    Attributes:
        tokens: generated in training, evaluation and labelling.
        hours: of one accelerator.
        memory: bytes, as a run itself would say before it starts.
        devices: of 80 GB, at least, to hold it.
    """

    tokens: int
    hours: float
    memory: int
    devices: int


def reckon(
    config: RunConfig, evaluations: int, runs: int = 1, labels: bool = False
) -> Reckoned | None:
    """Reckon runs that are alike; None where the model's shape is not known.

    Args:
        config: of one of them.
        evaluations: how many it makes.
        runs: how many there are.
        labels: whether the model's votes on the pool have to be drawn first, once.
    """
    if config.model not in PAPER_MODELS:
        return None
    shape = PAPER_MODELS[config.model].shape
    count = parameters(shape)
    mean = min(MEAN_TOKENS, config.rollout.max_tokens)
    rows = config.rollout.problems * config.rollout.samples
    asked = sum(SIZES.get(name, 500) for name in config.evaluation.benchmarks)
    drawn = sum(1 if t == 0 else config.evaluation.samples for t in config.evaluation.temperatures)
    trained = runs * config.steps * rows * mean
    evaluated = runs * evaluations * asked * drawn * mean
    voted = labels * config.labels.samples * SIZES.get(config.pool, 0) * mean
    written = trained + evaluated + voted
    seconds = _decoding(shape, count, config.rollout.max_rows, mean) * written
    seconds += 6 * count * trained / (ARITHMETIC * MATRICES)
    read = PROMPT_TOKENS * written / mean / config.rollout.samples
    seconds += 2 * count * read / (ARITHMETIC * MATRICES)
    memory = _needed(config, shape, count).total
    return Reckoned(written, seconds / 3600, memory, -(-memory // int(MEMORY)))


ADAPTER = 0.02  # of the parameters, in adapters of rank 64 on every matrix: a generous share
ROWS, TOKENS, PROMPT = 64, 768, 256  # in the cache


def memory_of() -> list[dict[str, Any]]:
    """The paper's models with the bytes that evaluation, LoRA and full training take on a GPU.

    In bf16 beside float32 weights, with 64 rows of 256 + 768 tokens at once; in training also what
    the optimizer and an update of 16,384 tokens keep, activations computed again. The same estimate
    (:mod:`rlvr_placebo.train.memory`) that a run makes before it starts.
    """
    rollout = RolloutConfig(max_tokens=TOKENS, max_rows=ROWS)
    how = EvaluationConfig(max_tokens=TOKENS)
    update = OptimizerConfig(checkpointing=True)
    rows = []
    for name, model in PAPER_MODELS.items():
        count = parameters(model.shape)
        config = RunConfig(name, "ground_truth", precision=NARROW, rollout=rollout,
                           optimizer=update, evaluation=how)  # fmt: skip
        lora = replace(config, lora=LoraConfig(rank=64))
        asked = (ROWS, PROMPT, TOKENS)
        rows.append(
            {
                "model": name,
                "parameters": count,
                "template": model.template,
                "evaluation": evaluation_needs(model.shape, count, NARROW, asked, True).total,
                "lora": _needed(lora, model.shape, count, PROMPT).total,
                "full": _needed(config, model.shape, count, PROMPT).total,
            }
        )
    return rows


def _needed(config: RunConfig, shape: Architecture, count: int, prompt: int = 0) -> Needs:
    """What a run on a GPU needs, with prompts as long as they may be."""
    trained = int(ADAPTER * count) if config.lora.rank else count
    longest = prompt or config.rollout.max_prompt or PROMPT_TOKENS
    return needs(config, shape, (count, trained), [[0] * longest], gpu=True)


def _decoding(shape: Architecture, count: int, rows: int, mean: int) -> float:
    """Seconds per token: at every position the weights and the cache are read, or multiplied."""
    room = max(0.1 * MEMORY, MEMORY - HALF * count)
    at_once = max(1, min(rows, int(room / ((PROMPT_TOKENS + mean) * _kept(shape)))))
    cache = at_once * (PROMPT_TOKENS + mean / 2) * _kept(shape)
    moved = (HALF * count + cache) / (BANDWIDTH * DECODING)
    return max(moved, 2 * count * at_once / (ARITHMETIC * MATRICES)) / at_once


def _kept(shape: Architecture) -> int:
    """Bytes of keys and values per token."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * HALF
