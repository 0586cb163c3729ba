"""Evaluations within a run; the untrained model is evaluated once per model and contract."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import pyarrow as pa

from rlvr_placebo.analysis.summary import summarize
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.rundir import RunDirectory, read_table, write_atomic, write_table
from rlvr_placebo.evaluate.evaluate import evaluate
from rlvr_placebo.rollout.protocol import Engine
from rlvr_placebo.train.trial import Benchmark, Trial
from rlvr_placebo.train.watch import Watch


def evaluate_after(
    trial: Trial, directory: RunDirectory, step: int, watch: Watch, baselines: Path | None
) -> None:
    """Evaluate the model as it is after ``step`` and write every sample and the summary.

    Args:
        trial: the run.
        directory: where it is written.
        step: 0 before training.
        watch: hears of progress.
        baselines: where the evaluation may already lie, and is left, if the model is untrained.
    """
    started = time.perf_counter()
    path = directory.path / f"evaluations/step-{step:06d}.parquet"
    if baselines is None:
        write_table(path, _measure(trial, step, watch))
    else:
        write_atomic(path, _shared(trial, baselines, watch).read_bytes())
    summary = summarize(read_table(path))
    contracts = [b.contract.as_dict() for b in trial.benchmarks]
    record = {"kind": "evaluation", "step": step, "contracts": contracts, "summary": summary}
    directory.append("metrics.jsonl", record)
    seconds = time.perf_counter() - started
    directory.append("timings.jsonl", {"step": step, "time": time.time(), "evaluation": seconds})
    watch.evaluated(step, summary)


def measure(
    engine: Engine, benchmarks: Sequence[Benchmark], watch: Watch, what: str = "evaluation"
) -> pa.Table:
    """Evaluate what the engine holds on every benchmark; one row per sample."""

    def on(benchmark: Benchmark) -> pa.Table:
        return evaluate(
            engine,
            benchmark.problems,
            benchmark.prompts,
            benchmark.contract,
            lambda done, total: watch.progress(
                f"{what} on {benchmark.contract.benchmark}", done, total
            ),
        )

    return pa.concat_tables([on(b) for b in benchmarks])


def _measure(trial: Trial, step: int, watch: Watch) -> pa.Table:
    """Evaluate the weights as they are after ``step``."""
    trial.engine.load_weights(trial.learner.model.state_dict(), trial.learner.updates_done)
    return measure(trial.engine, trial.benchmarks, watch, f"evaluation after step {step}")


def _shared(trial: Trial, baselines: Path, watch: Watch) -> Path:
    """Find the untrained model's evaluation in the folder, or measure it and leave it there."""
    path = baselines / f"{trial.baseline_key}.parquet"
    baselines.mkdir(parents=True, exist_ok=True)
    with _locked(baselines / f"{trial.baseline_key}.lock"):
        if not _readable(path):
            write_table(path, _measure(trial, 0, watch))
    return path


def _readable(path: Path) -> bool:
    """Whether a shared evaluation is there and whole; a damaged one is measured again."""
    try:
        return path.exists() and read_table(path).num_rows > 0
    except PlaceboError:
        return False


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold an exclusive lock on a file; another process waits."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
