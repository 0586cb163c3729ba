"""Everything a run holds while it runs, assembled from its configuration and checked."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from rlvr_placebo import __version__
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.rundir import digest
from rlvr_placebo.evaluate.contract import Contract, EvaluationConfig, make_contract
from rlvr_placebo.learner.learner import Learner
from rlvr_placebo.model.checkpoint import Checkpoint, digest_of, load, load_tokenizer, locate
from rlvr_placebo.rewards.protocol import Reward
from rlvr_placebo.rewards.spec import build, describe
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.text.problems import content_hash, load_problems
from rlvr_placebo.text.templates import get_template, render
from rlvr_placebo.text.tokenizer import Tokenizer
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.preflight import check_fit

Prompt = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One problem set, ready to be asked, under its contract."""

    problems: list[Problem]
    prompts: list[Prompt]
    contract: Contract


@dataclass(frozen=True, eq=False)
class Trial:
    """The parts of a run. Made by :func:`prepare`."""

    config: RunConfig
    checkpoint: Checkpoint
    engine: NativeEngine
    learner: Learner
    reward: Reward
    document: dict[str, Any]
    pool: list[Problem]
    prompts: dict[str, Prompt]
    benchmarks: list[Benchmark]

    @property
    def baseline_key(self) -> str:
        """Names the evaluation of the untrained model: one per model and contracts."""
        contracts = [b.contract.as_dict() for b in self.benchmarks]
        return digest([self.checkpoint.digest, contracts, self.config.rollout.max_rows])


def make_benchmarks(
    names: Sequence[str], template: str, tokenizer: Tokenizer, how: EvaluationConfig
) -> list[Benchmark]:
    """Load problem sets and render their prompts under one template."""
    chosen = get_template(template)
    benchmarks = []
    for name in names:
        problems = load_problems(name)
        prompts = [render(p, chosen, tokenizer) for p in problems]
        contract = make_contract(name, problems, chosen, tokenizer, how)
        benchmarks.append(Benchmark(problems, prompts, contract))
    return benchmarks


def content(
    model_digest: str, pool: Sequence[Problem], benchmarks: Sequence[Benchmark]
) -> dict[str, Any]:
    """The content of all that a configuration names: model, training pool, benchmarks."""
    return {
        "model_digest": model_digest,
        "pool_digest": content_hash(pool),
        "contracts": [b.contract.as_dict() for b in benchmarks],
    }


def identity(config: RunConfig, contents: Mapping[str, Any]) -> dict[str, Any]:
    """What ``config.json`` holds: the configuration and the content of all that it names.

    A run is resumed, or counted as done, only where this is the same.
    """
    return {**config.as_dict(), "reward_name": describe(config.reward), **contents}


def find_content(config: RunConfig) -> dict[str, Any]:
    """The content a configuration names now, without loading the model's weights into memory."""
    folder = locate(config.model)
    tokenizer = load_tokenizer(folder)
    how = config.evaluation
    benchmarks = make_benchmarks(how.benchmarks, config.template, tokenizer, how)
    pool = load_problems(config.pool)
    return content(digest_of(folder, tokenizer), pool, benchmarks)


def prepare(config: RunConfig) -> Trial:
    """Load and check everything a run needs; nothing is written yet.

    Raises:
        PlaceboError: whatever is wrong with the model, the problems or their fit.
    """
    pool = load_problems(config.pool)
    checkpoint = load(config.model)
    tokenizer, model = checkpoint.tokenizer, checkpoint.model
    template = get_template(config.template)
    prompts = {p.id: render(p, template, tokenizer) for p in pool}
    how = config.evaluation
    benchmarks = make_benchmarks(how.benchmarks, config.template, tokenizer, how)
    asked = [*prompts.values(), *(p for b in benchmarks for p in b.prompts)]
    check_fit(config, len(pool), asked, model.architecture.max_positions)
    rollout = config.rollout
    document = identity(config, content(checkpoint.digest, pool, benchmarks))
    return Trial(
        config=config,
        checkpoint=checkpoint,
        engine=NativeEngine(model, tokenizer, rollout.max_rows),
        learner=Learner(
            model, config.loss, config.optimizer, rollout.temperature, rollout.max_tokens
        ),
        reward=build(config.reward),
        document=document,
        pool=pool,
        prompts=prompts,
        benchmarks=benchmarks,
    )


def environment() -> dict[str, Any]:
    """What a run depends on beyond its configuration; outside the checksums."""
    libraries = ("torch", "tokenizers", "safetensors", "numpy", "pyarrow")
    return {
        "placebo": __version__,
        "python": sys.version.split()[0],
        **{name: version(name) for name in libraries},
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "processor": platform.processor() or platform.machine(),
        "host": platform.node(),
        "system": platform.platform(),
    }
