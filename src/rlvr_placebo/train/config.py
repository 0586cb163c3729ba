"""The configuration of a run: frozen, validated, hashed; every field has its sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.evaluate.contract import (
    COLDEST,
    HOTTEST,
    PRECISIONS,
    EvaluationConfig,
    check_evaluation,
)
from rlvr_placebo.labels.votes import MOST, LabelsConfig
from rlvr_placebo.learner.advantages import ADVANTAGES
from rlvr_placebo.learner.learner import OPTIMIZERS, OptimizerConfig
from rlvr_placebo.learner.losses import AGGREGATIONS, RATIOS, LossConfig
from rlvr_placebo.model.adapter import LoraConfig
from rlvr_placebo.model.device import AUTO, check_device
from rlvr_placebo.rewards.registry import BENCHMARK
from rlvr_placebo.rewards.spec import Spec, build, describe, needs_votes
from rlvr_placebo.text.templates import get_template


@dataclass(frozen=True)
class RolloutConfig:
    """What is generated in one step. The defaults are the paper's."""

    problems: int = 64
    """Problems per step."""
    samples: int = 16
    """Completions per problem: the group size G."""
    temperature: float = 1.0
    """Of sampling; the learner scores completions at the same one."""
    max_tokens: int = 3072
    """The longest completion."""
    max_prompt: int = 0
    """Training problems with longer prompts (in tokens) are left out; 0: none are."""
    max_rows: int = 256
    """Completions generated at once; changes memory and speed, not what is sampled."""


@dataclass(frozen=True)
class RunConfig:
    """One run: model × reward × variant × seed."""

    model: str
    """An embedded family (``pocket/code-prior``), a checkpoint's folder, or a hub id."""
    reward: Spec
    """What trains, as data; see ``placebo rewards``."""
    seed: int = 0
    """Of problem order, sampling, rewards and minibatches."""
    steps: int = 150
    """Rollout batches, each with its updates."""
    variant: str = "plain"
    """A name for what was changed, shown in reports."""
    pool: str = "pocket-train"
    """Training problems: a set by name, a .jsonl file, or `benchmark`: the test problems (TTRL)."""
    pool_size: int = 0
    """Train on the first so many problems of the pool only; 0: on all (one-shot is 1)."""
    template: str = "plain"
    """What surrounds a question, in training and evaluation."""
    precision: str = "float32"
    """What is computed with: float32, or bfloat16 beside weights that stay float32."""
    device: str = AUTO
    """cpu, cuda, cuda:1 …; auto: a GPU where there is one and the model is not tiny."""
    checkpoint_every: int = 0
    """Keep a checkpoint every so many steps; 0: the final one only."""
    checkpoint_precision: str = "float32"
    """Of whole models that are kept: float32, or bfloat16, half as large and rounded."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """Votes of the untrained model on the training problems."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """What is generated in one step."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Which objective is optimised."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the loss becomes updates."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What is measured before, during and after."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Adapters instead of all weights."""

    def as_dict(self) -> dict[str, Any]:
        """Nested dicts and lists, ready for JSON; without what is switched off."""
        document: dict[str, Any] = {**_plain(dataclasses.asdict(self)), "reward": self.reward}
        if not self.lora.rank:
            del document["lora"]
        for key in ("precision", "checkpoint_precision"):
            if document[key] == PRECISIONS[0]:
                del document[key]
        if self.device == AUTO:
            del document["device"]
        if not self.rollout.max_prompt:
            del document["rollout"]["max_prompt"]
        if self.loss.tis_cap is None:
            del document["loss"]["tis_cap"]
        return document


# Settings that belong together, by name. `paper` is arXiv 2506.10947's; `pocket` suits the embedded
# families (its choice is told in LOG.md).
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "precision": "bfloat16",
        "optimizer.checkpointing": True,
        "rollout.max_prompt": 1024,
        "evaluation.max_tokens": 3072,
        "evaluation.samples": 8,
        "evaluation.temperatures": (0.0, 0.6, 1.0),  # 0.6 is the paper's for AMC and AIME
    },
    "pocket": {
        "steps": 40,
        "rollout.problems": 8,
        "rollout.max_tokens": 72,
        "optimizer.learning_rate": 1e-4,
    },
}


def _plain(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def flatten(document: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys and values of nested tables."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check(config: RunConfig) -> None:
    """Refuse values that make no sense, before anything is loaded.

    Raises:
        PlaceboError: the first offending key, what it holds and what it may hold.
    """
    build(config.reward)
    check_device(config.device)
    get_template(config.template)
    values = dict(flatten(config.as_dict()))
    for key, allowed in _CHOICES.items():
        if key in values and values[key] not in allowed:
            hint = suggest(str(values[key]), allowed)
            raise PlaceboError(f"setting {key}: unknown value {values[key]!r}; {hint}")
    for keys_, low, high in _RANGES:
        for key in keys_:
            value = values.get(key)
            if value is not None and not low <= value <= high:
                shown = str(value)[:20]
                raise PlaceboError(f"setting {key}: {shown} must lie in [{low:g}, {high:g}]")
    if config.optimizer.minibatches > config.rollout.problems * config.rollout.samples:
        raise PlaceboError("setting optimizer.minibatches: more than completions in a step")
    check_evaluation(config.evaluation)
    _check_labels(config)


def _check_labels(config: RunConfig) -> None:
    """Labels are of the training pool, and a reward that pays for them needs them."""
    labels = config.labels
    if labels.samples and labels.folder:
        raise PlaceboError("setting labels.folder: has its own samples; leave labels.samples out")
    needed = needs_votes(config.reward)
    if not needed:
        return
    if config.pool == BENCHMARK:
        raise PlaceboError(
            f"reward {describe(config.reward)}: labels are of training problems; pool=benchmark "
            "has none"
        )
    if not labels.wanted:
        raise PlaceboError(
            f"reward {describe(config.reward)}: needs labels of the untrained model; add "
            "labels.samples=16 (or 64, the paper's), or labels.folder"
        )
    if labels.wrong_answers < needed:
        raise PlaceboError(
            f"reward {describe(config.reward)}: needs problems with {needed} wrong answers; set "
            f"labels.wrong_answers={needed}, for every arm alike"
        )


_CHOICES: Mapping[str, Iterable[str]] = {
    "precision": PRECISIONS,
    "checkpoint_precision": PRECISIONS,
    "loss.advantage": tuple(ADVANTAGES),
    "loss.aggregation": AGGREGATIONS,
    "loss.ratio": RATIOS,
    "optimizer.name": OPTIMIZERS,
}
_LARGE = 1e9
_RANGES: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("seed", "labels.seed"), 0, 2**63 - 1),
    (("steps", "checkpoint_every", "pool_size", "rollout.max_prompt"), 0, _LARGE),
    (("labels.samples",), 0, MOST),
    (
        ("rollout.problems", "rollout.max_tokens", "rollout.max_rows", "labels.wrong_answers"),
        1,
        _LARGE,
    ),
    (("rollout.samples",), 2, _LARGE),
    (("rollout.temperature", "labels.temperature"), COLDEST, HOTTEST),
    (("loss.clip_low", "loss.masked"), 0, 1),
    (("loss.clip_high", "loss.kl", "optimizer.weight_decay"), 0, _LARGE),
    (("optimizer.learning_rate", "optimizer.max_grad_norm"), 0, _LARGE),
    (("optimizer.beta1", "optimizer.beta2"), 0, 0.999999),
    (("lora.rank",), 0, 4096),
    (("lora.alpha", "loss.tis_cap"), 1e-6, _LARGE),
    (("optimizer.minibatches", "optimizer.epochs", "optimizer.micro_tokens"), 1, _LARGE),
)
