"""Everything a run holds while it runs, assembled from its configuration and checked."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from rlvr_placebo import __version__
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest, file_digest, read_table
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.evaluate.contract import (
    PRECISIONS,
    Contract,
    EvaluationConfig,
    make_contract,
)
from rlvr_placebo.labels.votes import FILE, attach
from rlvr_placebo.learner.learner import Learner
from rlvr_placebo.model.adapter import adapt
from rlvr_placebo.model.checkpoint import (
    Checkpoint,
    digest_of,
    load,
    load_tokenizer,
    read_architecture,
)
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.device import CPU, choose, free_memory, place
from rlvr_placebo.model.folders import locate
from rlvr_placebo.model.foreign import Foreign
from rlvr_placebo.model.products import library
from rlvr_placebo.rewards.protocol import Reward
from rlvr_placebo.rewards.registry import BENCHMARK
from rlvr_placebo.rewards.spec import build, describe, user_code
from rlvr_placebo.rewards.user import missing_columns
from rlvr_placebo.rollout.engines import make_engine
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.text.benchmarks import unusual_size
from rlvr_placebo.text.duplicates import Shared, shared
from rlvr_placebo.text.problems import content_hash, load_problems
from rlvr_placebo.text.templates import Template, get_template, render
from rlvr_placebo.text.tokenizer import Tokenizer
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.memory import Needs, check_memory, needs
from rlvr_placebo.train.preflight import check_fit, check_pool, static_warnings
from rlvr_placebo.verify.judge import VERSION

Prompt = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One problem set, ready to be asked, under its contract."""

    problems: list[Problem]
    prompts: list[Any]
    contract: Contract


@dataclass(frozen=True, eq=False)
class Trial:
    """The parts of a run. Made by :func:`prepare`."""

    config: RunConfig
    checkpoint: Checkpoint
    needs: Needs
    engine: NativeEngine
    learner: Learner
    reward: Reward
    document: dict[str, Any]
    pool: list[Problem]
    prompts: dict[str, Prompt]
    stops: tuple[str, ...]
    benchmarks: list[Benchmark]
    warnings: tuple[str, ...]

    @property
    def baseline_key(self) -> str:
        """Names the evaluation of the untrained model: one per model and contracts."""
        contracts = [b.contract.as_dict() for b in self.benchmarks]
        return digest([self.checkpoint.digest, contracts, self.config.rollout.max_rows])


def make_benchmarks(
    how: EvaluationConfig, template: Template, tokenizer: Tokenizer,
    precision: str = PRECISIONS[0],
) -> list[Benchmark]:  # fmt: skip
    """Load problem sets and render their prompts under one template."""
    benchmarks = []
    for name in how.benchmarks:
        problems = load_problems(name)
        prompts = [render(p, template, tokenizer) for p in problems]
        contract = make_contract(name, problems, template, tokenizer, how, precision)
        benchmarks.append(Benchmark(problems, prompts, contract))
    return benchmarks


def load_pool(config: RunConfig, benchmarks: Sequence[Benchmark]) -> list[Problem]:
    """The training problems, before labels and ``pool_size`` narrow them down."""
    if config.pool != BENCHMARK:
        return load_problems(config.pool)
    return list({p.id: p for b in benchmarks for p in b.problems}.values())


def content(
    model_digest: str, pool: Sequence[Problem], benchmarks: Sequence[Benchmark], labels: Path | None
) -> dict[str, Any]:
    """The content of all that a configuration names: model, problems, labels."""
    trained = {p.id for p in pool}
    return {
        "model_digest": model_digest,
        "pool_digest": content_hash(pool),
        "contracts": [b.contract.as_dict() for b in benchmarks],
        "labels_digest": file_digest(labels) if labels else None,
        # benchmarks some of whose own problems are trained on (TTRL): no test of generalisation
        "trains_on_test": [
            b.contract.benchmark for b in benchmarks if trained & {p.id for p in b.problems}
        ],
    }


def find_labels(config: RunConfig, model_digest: str) -> Path:
    """The file of labels in ``labels.folder``.

    Raises:
        PlaceboError: there is none, it is unfinished, or it was made with another model, prompt or
            verifier than the run's: then it does not hold what the policy would have said.
    """
    folder = config.labels.folder
    run = RunDirectory(Path(folder))
    if not (run.path / FILE).exists() or not run.finished:
        raise PlaceboError(
            f"labels.folder {folder}: holds no finished labels; make them with `placebo labels "
            "build`"
        )
    run.must_be_whole()
    made, problem = run.config, ""
    if made.get("model_digest") != model_digest:
        problem = f"are votes of another model ({made.get('model')})"
    elif made.get("template") != config.template:
        problem = f"were made under prompt {made.get('template')}, not {config.template}"
    elif made.get("verifier") != VERSION:
        problem = "were counted by another version of the verifier"
    if problem:
        raise PlaceboError(f"labels.folder {folder}: its labels {problem}; build them anew")
    return run.path / FILE


def identity(config: RunConfig, contents: Mapping[str, Any]) -> dict[str, Any]:
    """What ``config.json`` holds: the configuration and the content of all that it names.

    A run is resumed, or counted as done, only where this is the same.
    """
    own = {"reward_name": describe(config.reward), "reward_code": user_code(config.reward)}
    return {**config.as_dict(), **own, **contents}


@dataclass(frozen=True, eq=False)
class Material:
    """The problems of a run, loaded and found to fit its model, labels and reward."""

    benchmarks: list[Benchmark]
    pool: list[Problem]
    prompts: dict[str, Prompt]
    stops: tuple[str, ...]
    contents: dict[str, Any]
    too_long: int


def gather(config: RunConfig, tokenizer: Tokenizer, model_digest: str, positions: int) -> Material:
    """Load the problems of a run and check all that can be checked without the model's weights.

    Raises:
        PlaceboError: problems are missing or do not fit the model, the labels or the reward.
    """
    template = get_template(config.template)
    beside = config.lora.rank and config.precision != PRECISIONS[0]
    numbers = f"{config.precision}, adapters beside it" if beside else config.precision
    benchmarks = make_benchmarks(config.evaluation, template, tokenizer, numbers)
    every = load_pool(config, benchmarks)
    prompts = {p.id: render(p, template, tokenizer) for p in every}
    most = config.rollout.max_prompt or positions
    pool = [p for p in every if len(prompts[p.id]) <= most] if config.rollout.max_prompt else every
    prompts = {p.id: prompts[p.id] for p in pool}
    check_fit(config, len(pool), [*prompts.values(), *(p for b in benchmarks for p in b.prompts)],
              positions)  # fmt: skip
    for name in user_code(config.reward):
        if missing := missing_columns(name, pool[0]):
            raise PlaceboError(
                f"reward {name}: asks for {', '.join(missing)}, which {config.pool} does not have"
            )
    labels = find_labels(config, model_digest) if config.labels.folder else None
    if labels:
        kept, _ = attach(pool, read_table(labels), config.labels.wrong_answers)
        check_pool(config, len(kept))
    contents = content(model_digest, pool, benchmarks, labels)
    return Material(benchmarks, pool, prompts, template.stops, contents, len(every) - len(pool))


def find_content(config: RunConfig) -> dict[str, Any]:
    """The content a configuration names now, checked, without loading the model's weights.

    Raises:
        PlaceboError: what :func:`prepare` would raise, but for the weights.
    """
    folder = locate(config.model)
    tokenizer = load_tokenizer(folder)
    positions = read_architecture(folder).max_positions
    return gather(config, tokenizer, digest_of(folder, tokenizer), positions).contents


def prepare(config: RunConfig) -> Trial:
    """Load and check everything a run needs; nothing is written yet.

    Raises:
        PlaceboError: whatever is wrong with the model, the problems or their fit.
    """
    choose(config.device, 0)  # a GPU that is not there is missed before anything is loaded
    checkpoint = load(config.model, CPU)
    tokenizer, model = checkpoint.tokenizer, checkpoint.model
    found = gather(config, tokenizer, checkpoint.digest, model.architecture.max_positions)
    rollout = config.rollout
    asked = [*found.prompts.values(), *(p for b in found.benchmarks for p in b.prompts)]
    count = sum(p.numel() for p in model.parameters())
    compute_in(model, config.precision)
    if config.lora.rank:
        adapt(model, config.lora, config.seed)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    device = choose(config.device, count)
    need = needs(config, model.architecture, (count, trained), asked, device.type != CPU)
    held = 4 * count if device.type == CPU else 0
    check_memory(config, need, free_memory(device), held)
    place(model, config.device)
    return Trial(
        config=config,
        checkpoint=checkpoint,
        needs=need,
        engine=make_engine(model, tokenizer, rollout.max_rows),
        learner=Learner(
            model, config.loss, config.optimizer, rollout.temperature, rollout.max_tokens
        ),
        reward=build(config.reward),
        document=identity(config, found.contents),
        pool=found.pool,
        prompts=found.prompts,
        stops=found.stops,
        warnings=(
            *filter(None, [model.remark]),
            *static_warnings(config, found.contents["trains_on_test"], duplicates(found)),
            *sizes(found, config.pool),
            *left_out(found, config),
        ),
        benchmarks=found.benchmarks,
    )


def compute_in(model: Decoder, precision: str) -> None:
    """Set the numbers that a model computes with; its weights stay float32.

    Raises:
        PlaceboError: the model goes through another library, which has numbers of its own.
    """
    if precision == PRECISIONS[0]:
        return
    if isinstance(model, Foreign):
        raise PlaceboError(f"precision {precision}: {model.remark}; only float32 there")
    model.compute = getattr(torch, precision)


def duplicates(found: Material) -> dict[str, Shared]:
    """What the training pool shares with each benchmark; sets of the lab are disjoint as made."""
    if not found.pool or found.pool[0].source.startswith("pocket-"):
        return {}
    return {
        b.contract.benchmark: shared(found.pool, b.problems)
        for b in found.benchmarks
        if b.contract.benchmark not in found.contents["trains_on_test"]
    }


def left_out(found: Material, config: RunConfig) -> list[str]:
    """Training problems whose prompt is too long."""
    if not found.too_long:
        return []
    most = config.rollout.max_prompt
    return [
        f"{found.too_long} problems of {config.pool} have prompts of more than {most} tokens and "
        "are left out, for every arm alike"
    ]


def sizes(found: Material, pool: str) -> list[str]:
    """Where a benchmark or pool is not the one that is known by its name."""
    counts = {b.contract.benchmark: len(b.problems) for b in found.benchmarks}
    lines = (unusual_size(name, n) for name, n in {pool: len(found.pool), **counts}.items())
    return [line for line in lines if line]


def environment(device: str = CPU) -> dict[str, Any]:
    """What a run depends on beyond its configuration; outside the checksums."""
    libraries = ("torch", "tokenizers", "safetensors", "numpy", "pyarrow", "math-verify", "sympy")
    return {
        "placebo": __version__,
        "python": sys.version.split()[0],
        **{name: version(name) for name in libraries},
        "threads": torch.get_num_threads(),
        "products": library(),
        "device": device,
        "machine": platform.machine(),
        "processor": platform.processor() or platform.machine(),
        "host": platform.node(),
        "system": platform.platform(),
    }


def moved(run: RunDirectory, here: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What decides about bytes and differs from where an unfinished run was begun."""
    if not (run.path / "environment.json").exists():
        return []
    begun = run.read_json("environment.json")
    names = ("torch", "products", "threads", "device")
    return [(n, begun.get(n), here[n]) for n in names if begun.get(n, CPU) != here[n]]
