"""An evaluation, or a probe of contamination, without training: in a directory of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr_placebo.analysis.summary import summarize
from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import digest, write_json, write_table
from rlvr_placebo.core.rundir import PARTS, RunDirectory, claim
from rlvr_placebo.evaluate.contract import PRECISIONS, EvaluationConfig, check_evaluation
from rlvr_placebo.evaluate.probe import Ask, check_probe, contrast, long_enough, probe
from rlvr_placebo.evaluate.served import ServedEngine, Server, question_of, served_contract
from rlvr_placebo.model.checkpoint import Checkpoint, load
from rlvr_placebo.model.device import AUTO, CPU, device_of, free_memory, name_of
from rlvr_placebo.rollout.engines import make_engine
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.protocol import Engine, Sampling, check_length
from rlvr_placebo.text.benchmarks import unusual_size
from rlvr_placebo.text.problems import content_hash, load_problems
from rlvr_placebo.text.templates import get_template
from rlvr_placebo.train.evaluations import measure
from rlvr_placebo.train.memory import check_evaluation_memory, evaluation_needs
from rlvr_placebo.train.trial import Benchmark, compute_in, environment, make_benchmarks
from rlvr_placebo.train.watch import Watch
from rlvr_placebo.verify.judge import VERSION


@dataclass(frozen=True)
class Computing:
    """Where and in what numbers a model is computed.

    Attributes:
        precision: float32 or bfloat16.
        device: see :func:`rlvr_placebo.model.device.choose`.
        max_rows: completions generated at once; changes memory and speed, not what is sampled.
    """

    precision: str = PRECISIONS[0]
    device: str = AUTO
    max_rows: int = 256


def computing_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a run is computed, for what is measured beside it; arguments of :class:`Computing`."""
    return {key: config[key] for key in ("precision", "device") if key in config}


def loaded(model: str, computing: Computing) -> Checkpoint:
    """Load a model to where and in what it is to be computed.

    Raises:
        PlaceboError: it cannot be loaded, or not computed like this.
    """
    if computing.precision not in PRECISIONS:
        hint = suggest(computing.precision, PRECISIONS)
        raise PlaceboError(f"precision {computing.precision!r}: {hint}")
    if computing.max_rows < 1:
        raise PlaceboError(f"max_rows {computing.max_rows}: must be 1 or more")
    checkpoint = load(model, computing.device)
    compute_in(checkpoint.model, computing.precision)
    return checkpoint


def engine_for(
    checkpoint: Checkpoint, computing: Computing, how: EvaluationConfig,
    benchmarks: Sequence[Benchmark], watch: Watch,
) -> NativeEngine:  # fmt: skip
    """The engine of an evaluation, after a look at what memory it will need.

    Raises:
        PlaceboError: more than there is.
    """
    model = checkpoint.model
    prompts = [prompt for benchmark in benchmarks for prompt in benchmark.prompts]
    rows = min(computing.max_rows, len(prompts) * how.samples)
    asked = (rows, max(map(len, prompts)), how.max_tokens)
    device = device_of(model)
    count = sum(p.numel() for p in model.parameters())
    need = evaluation_needs(
        model.architecture, count, computing.precision, asked, device.type != CPU
    )
    watch.say(f"memory: {need}")
    check_evaluation_memory(need, free_memory(device))
    return make_engine(model, checkpoint.tokenizer, computing.max_rows)


@dataclass(frozen=True)
class Place:
    """Where an evaluation goes.

    Attributes:
        out: directory for samples, summary and result.
        resume: go on with an evaluation that was killed there.
    """

    out: Path
    resume: bool = False


def evaluate_model(
    model: str, how: EvaluationConfig, template: str, place: Place, watch: Watch,
    computing: Computing = Computing(),
) -> list[dict[str, Any]]:  # fmt: skip
    """Evaluate a model on benchmarks and keep every sample.

    Args:
        model: family, folder or hub id.
        how: benchmarks, temperatures, samples, seed.
        template: name of the prompt template.
        place: where samples, summary and result go.
        watch: hears of progress.
        computing: on which device, and with what precision.

    Returns:
        The summary; see :func:`rlvr_placebo.analysis.summary.summarize`.

    Raises:
        PlaceboError: a mistake in the arguments, or a directory that is in use.
    """
    check_evaluation(how)
    checkpoint = loaded(model, computing)
    if checkpoint.model.remark:
        watch.warn(checkpoint.model.remark)
    benchmarks = make_benchmarks(
        how, get_template(template), checkpoint.tokenizer, computing.precision
    )
    positions = checkpoint.model.architecture.max_positions
    for benchmark in benchmarks:
        check_length(benchmark.prompts, how.max_tokens, positions)
        remark(benchmark.contract.benchmark, len(benchmark.problems), watch)
    engine = engine_for(checkpoint, computing, how, benchmarks, watch)
    where = name_of(device_of(checkpoint.model))
    return _evaluated((model, checkpoint.digest), engine, benchmarks, place, watch, where)


def evaluate_served(
    server: Server, how: EvaluationConfig, template: str, place: Place, watch: Watch
) -> list[dict[str, Any]]:
    """Evaluate what a server serves; arguments and result as of :func:`evaluate_model`.

    Raises:
        PlaceboError: likewise, or the server does not answer a first question.
    """
    check_evaluation(how)
    asked = get_template(template)
    benchmarks = []
    for name in how.benchmarks:
        problems = load_problems(name)
        contract = served_contract(name, problems, asked, how)
        benchmarks.append(Benchmark(problems, [question_of(p, asked) for p in problems], contract))
        remark(name, len(problems), watch)
    engine = ServedEngine(server)
    engine.generate(benchmarks[0].prompts[:1], Sampling(0.0, 1.0, 1), [[0]])
    where = f"served by {server.url}"
    return _evaluated((server.model, where), engine, benchmarks, place, watch)


def _evaluated(
    model: tuple[str, str], engine: Engine, benchmarks: list[Benchmark], place: Place, watch: Watch,
    where: str = CPU,
) -> list[dict[str, Any]]:  # fmt: skip
    """Measure, or read what was measured, in a directory of its own.

    Args:
        model: its name and digest.
        engine: that holds it.
        benchmarks: what is measured.
        place: the directory.
        watch: hears of progress.
        where: the model's device.
    """
    contracts = [b.contract.as_dict() for b in benchmarks]
    config = {"model": model[0], "model_digest": model[1], "contracts": contracts}
    out = place.out
    with claim(out, config, place.resume) as directory:
        if directory.finished:
            directory.must_be_whole()
            return directory.metrics("evaluation")[0]["summary"]
        directory.rewind(-1)
        write_json(out / "environment.json", environment(where))
        table = measure(engine, benchmarks, watch, out / PARTS)
        write_table(out / "evaluations/step-000000.parquet", table)
        summary = summarize(table)
        record = {"kind": "evaluation", "step": 0, "contracts": contracts, "summary": summary}
        directory.append("metrics.jsonl", record)
        directory.finish({"steps": 0})
        return summary


def probe_model(model: str, ask: Ask, out: Path, resume: bool, watch: Watch) -> dict[str, Any]:
    """Probe whether a model has seen benchmarks, and keep every continuation.

    Args:
        model: family, folder or hub id.
        ask: benchmarks, template, shares and lengths.
        out: directory for continuations and ``probe.json``.
        resume: go on with a probe that was killed there.
        watch: hears of progress.

    Returns:
        What ``probe.json`` holds: per benchmark one entry per share and measure.

    Raises:
        PlaceboError: a mistake in the arguments, or a directory that is in use.
    """
    check_probe(ask)
    checkpoint = load(model)
    chosen = get_template(ask.template)
    whole = {name: load_problems(name) for name in ask.benchmarks}
    problems = {n: long_enough(checkpoint, n, asked, ask) for n, asked in whole.items()}
    for name, asked in whole.items():
        remark(name, len(asked), watch)
    config = {
        "model": model,
        "model_digest": checkpoint.digest,
        "benchmarks": {name: content_hash(p) for name, p in problems.items()},
        "template": chosen.id,
        "probe": asdict(ask),
        "verifier": VERSION,
    }

    def work(directory: RunDirectory) -> dict[str, Any]:
        found = {}
        for name, asked in problems.items():
            scratch = directory.path / PARTS / digest(name)
            found[name], table = probe(checkpoint, asked, chosen, ask, watch.progress, scratch)
            write_table(directory.path / f"continuations-{digest(name)}.parquet", table)
        one, clean = ask.benchmarks
        return {
            "model": model,
            "benchmark": one,
            "clean": clean,
            "benchmarks": found,
            "differences": [
                {"share": a["share"], "measure": a["measure"], **contrast(a, b)}
                for a, b in zip(found[one], found[clean], strict=True)
            ],
            "too_short": {n: len(whole[n]) - len(problems[n]) for n in whole},
        }

    where = name_of(device_of(checkpoint.model))
    return documented(out, config, resume, "probe.json", work, where)


def remark(name: str, size: int, watch: Watch) -> None:
    """Say where a benchmark is not the one that is known by its name."""
    if line := unusual_size(name, size):
        watch.warn(line)


def documented(
    out: Path,
    config: Mapping[str, object],
    resume: bool,
    name: str,
    work: Callable[[RunDirectory], dict[str, Any]],
    where: str = CPU,
) -> dict[str, Any]:
    """Do work whose result is one JSON document, in a directory of its own, once.

    Returns:
        The document as it was read back; where the work was done before, without doing it.
    """
    with claim(out, config, resume) as directory:
        if not directory.finished:
            write_json(out / "environment.json", environment(where))
            write_json(out / name, work(directory))
            directory.finish({"document": name})
        directory.must_be_whole()
        return directory.read_json(name)
