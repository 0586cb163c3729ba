"""What is measured of the models of a run; of the untrained one once per study, not per run."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa

from rlvr_placebo.analysis.summary import summarize
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import read_table, write_atomic, write_table
from rlvr_placebo.core.rundir import PARTS, RunDirectory
from rlvr_placebo.evaluate.evaluate import evaluate
from rlvr_placebo.labels.votes import FILE, Asked, attach, permute_golds, sample_votes
from rlvr_placebo.rewards.registry import BENCHMARK
from rlvr_placebo.rollout.protocol import Engine
from rlvr_placebo.train.preflight import check_pool
from rlvr_placebo.train.trial import Benchmark, Trial, find_labels
from rlvr_placebo.train.watch import Watch


def evaluate_after(
    trial: Trial, directory: RunDirectory, step: int, watch: Watch, shared: Path | None
) -> None:
    """Evaluate the model as it is after ``step`` and write every sample and the summary.

    Args:
        trial: the run.
        directory: where it is written.
        step: 0 before training.
        watch: hears of progress.
        shared: where the evaluation may already lie, and is left, if the model is untrained.
    """
    started = time.perf_counter()
    path = directory.path / f"evaluations/step-{step:06d}.parquet"
    if shared is None:
        write_table(path, _measure(trial, step, watch, directory.path / PARTS))
    else:
        key = f"baseline-{trial.baseline_key}"
        parts = shared / f"{key}-parts"
        made = once(shared, key, lambda: _measure(trial, step, watch, parts))
        shutil.rmtree(parts, ignore_errors=True)
        write_atomic(path, made.read_bytes())
    shutil.rmtree(directory.path / PARTS, ignore_errors=True)
    summary = summarize(read_table(path))
    contracts = [b.contract.as_dict() for b in trial.benchmarks]
    record = {"kind": "evaluation", "step": step, "contracts": contracts, "summary": summary}
    directory.append("metrics.jsonl", record)
    seconds = time.perf_counter() - started
    directory.append("timings.jsonl", {"step": step, "time": time.time(), "evaluation": seconds})
    watch.evaluated(step, summary)


def measure(
    engine: Engine,
    benchmarks: Sequence[Benchmark],
    watch: Watch,
    scratch: Path,
    what: str = "evaluation",
) -> pa.Table:
    """Evaluate what the engine holds on every benchmark; one row per sample.

    What is done lies in ``scratch`` until the caller, who has written the table, removes it.
    """

    def on(benchmark: Benchmark) -> pa.Table:
        return evaluate(
            engine,
            benchmark.problems,
            benchmark.prompts,
            benchmark.contract,
            lambda done, total: watch.progress(
                f"{what} on {benchmark.contract.benchmark}", done, total
            ),
            scratch,
        )

    return pa.concat_tables([on(b) for b in benchmarks])


def _measure(trial: Trial, step: int, watch: Watch, scratch: Path) -> pa.Table:
    """Evaluate the weights as they are after ``step``."""
    trial.engine.load_weights(trial.learner.model.state_dict(), trial.learner.updates_done)
    what = f"evaluation after step {step}"
    return measure(trial.engine, trial.benchmarks, watch, scratch / f"step-{step}", what)


def label_pool(trial: Trial, directory: RunDirectory, watch: Watch, shared: Path | None) -> Trial:
    """The trial with the pool it trains on: labelled, if labels are asked for, and cut to size.

    Args:
        trial: the run, with its whole pool.
        directory: where the labels are kept.
        watch: hears of progress.
        shared: where the labels may already lie, and are left.
    """
    config, pool = trial.config, trial.pool
    if config.labels.wanted and config.pool != BENCHMARK:
        path = directory.path / FILE
        if not path.exists():
            write_atomic(path, _labels(trial, directory, watch, shared).read_bytes())
        shutil.rmtree(directory.path / PARTS, ignore_errors=True)
        pool, dropped = attach(pool, read_table(path), config.labels.wrong_answers)
        for reason, count in asdict(dropped).items():
            if count:
                watch.warn(f"{count} training problems leave the pool: {reason.replace('_', ' ')}")
    pool = permute_golds(pool, config.seed)
    pool = pool[: config.pool_size] if config.pool_size else pool
    check_pool(config, len(pool))
    return replace(trial, pool=pool)


def _labels(trial: Trial, directory: RunDirectory, watch: Watch, shared: Path | None) -> Path:
    """The file of labels: the one that was named, or one made once, where it is shared."""
    config = trial.config
    if config.labels.folder:
        return find_labels(config, trial.checkpoint.digest)
    prompts = [trial.prompts[p.id] for p in trial.pool]
    asked = Asked(
        trial.pool, prompts, config.labels, config.rollout.max_tokens, trial.stops,
        config.evaluation.extraction,
    )  # fmt: skip
    key = f"labels-{asked.key(trial.checkpoint.digest)}"
    home = shared or directory.path / PARTS
    parts = home / f"{key}-parts"

    def make() -> pa.Table:
        return sample_votes(
            trial.engine, asked, parts, lambda done, total: watch.progress("labels", done, total)
        )

    made = once(home, key, make)
    shutil.rmtree(parts, ignore_errors=True)
    return made


def once(shared: Path, key: str, make: Callable[[], pa.Table]) -> Path:
    """Find a table in the folder that a study's runs share, or make it and leave it there."""
    path = shared / f"{key}.parquet"
    shared.mkdir(parents=True, exist_ok=True)
    with _locked(shared / f"{key}.lock"):
        if not _readable(path):
            write_table(path, make())
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
