"""What a study asks for, and how long it will take: by the costs of runs that were measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rlvr_placebo.analysis.folder import Lap, evaluation_seconds, laps_of
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.rundir import RunDirectory, claim
from rlvr_placebo.evaluate.evaluate import evaluate
from rlvr_placebo.labels.votes import LabelsConfig
from rlvr_placebo.model.published import PAPER_MODELS
from rlvr_placebo.study.gpu import Reckoned, reckon
from rlvr_placebo.study.matrix import Study
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.loop import one_step
from rlvr_placebo.train.trial import Trial, prepare
from rlvr_placebo.train.watch import Silent

STEPS = 3  # measured, of which the first is left out
PROBLEMS = 64  # of each benchmark, evaluated to know the cost of all
START = 4.0  # seconds until a worker has imported and loaded everything


@dataclass(frozen=True)
class Cost:
    """Seconds that the parts of a run take on one worker.

    Attributes:
        step: one rollout batch with its updates.
        evaluation: one evaluation on all benchmarks.
        completion: generating one completion.
        source: ``measured`` now, or ``runs`` in the store.
    """

    step: float
    evaluation: float
    completion: float
    source: str


@dataclass(frozen=True)
class Line:
    """The runs of one model under one variant.

    Attributes:
        model: of the runs.
        variant: of the runs.
        runs: how many the study asks for.
        done: how many of them are finished in the store.
        steps: of all runs that are left.
        completions: that these steps will generate.
        seconds: on one worker, for what is left; None where no cost is known.
        cost: what the time was reckoned with.
        gpu: what the runs that are left of a published model would take on accelerators, with the
            model's labels in its first line.
    """

    model: str
    variant: str
    runs: int
    done: int
    steps: int
    completions: int
    seconds: float | None
    cost: Cost | None
    gpu: Reckoned | None = None


def plan_study(study: Study, store: Path | None, measure: bool) -> list[Line]:
    """Reckon what is left of a study, per model and variant.

    Args:
        study: the matrix.
        store: where runs may be finished already.
        measure: run a few steps of each model whose costs are not known from the store.

    Raises:
        PlaceboError: a model or problems cannot be loaded (only where ``measure`` asks for it).
    """
    groups: dict[tuple[str, str], list[tuple[str, RunConfig]]] = {}
    for name, config in study.runs.items():
        groups.setdefault((config.model, config.variant), []).append((name, config))
    costs: dict[str, Cost | None] = {}
    labelled: set[str] = set()
    lines = []
    for (model, variant), members in groups.items():
        left = [(n, c) for n, c in members if not _finished(store, n)]
        key = _shape(members[0][1])
        if key not in costs:
            here = measure and model not in PAPER_MODELS  # those are reckoned, for accelerators
            costs[key] = _known(store, members) or (_measured(members[0][1]) if here else None)
        cost = costs[key]
        extra, first = 0.0, bool(left) and model not in labelled
        if first:  # once per model: its labels and its baseline
            labelled.add(model)
            if cost:
                extra = cost.evaluation + _label_samples(left[0][1]) * cost.completion
        config = members[0][1]
        gpu = reckon(config, 1 + _evaluations(config), len(left), labels=first)
        lines.append(_line((model, variant), members, left, cost, extra, gpu))
    return lines


def _line(
    head: tuple[str, str],
    members: list[tuple[str, RunConfig]],
    left: list[tuple[str, RunConfig]],
    cost: Cost | None,
    extra: float,
    gpu: Reckoned | None,
) -> Line:
    steps = sum(c.steps for _, c in left)
    per_step = [c.steps * c.rollout.problems * c.rollout.samples for _, c in left]
    seconds = None
    if cost:
        evaluations = sum(_evaluations(c) for _, c in left)
        seconds = steps * cost.step + evaluations * cost.evaluation + START * len(left) + extra
    done = len(members) - len(left)
    return Line(*head, len(members), done, steps, sum(per_step), seconds, cost, gpu)


def _finished(store: Path | None, name: str) -> bool:
    return store is not None and RunDirectory(store / "runs" / name).finished


def _evaluations(config: RunConfig) -> int:
    """Evaluations of one run after training began."""
    every = config.evaluation.every
    return 1 + ((config.steps - 1) // every if every else 0)


def _label_samples(config: RunConfig) -> int:
    """Samples that the labels of a model take."""
    if not config.labels.samples:
        return 0
    try:
        return config.labels.samples * len(load_problems(config.pool))
    except PlaceboError:  # problems that are not here yet
        return 0


def _shape(config: RunConfig) -> str:
    """What the cost of a run depends on: all but its reward, seed, name and length."""
    same = replace(config, reward="ground_truth", seed=0, steps=0, variant="", checkpoint_every=0,
                   pool_size=0)  # fmt: skip
    return digest(same.as_dict())


def _known(store: Path | None, members: Iterable[tuple[str, RunConfig]]) -> Cost | None:
    """Costs from the timings of one of these runs in the store."""
    if store is None:
        return None
    for name, config in members:
        run = RunDirectory(store / "runs" / name)
        laps, evaluations = laps_of(run), evaluation_seconds(run)
        if laps and evaluations:
            return _cost(config, laps, max(evaluations), "runs")
    return None


def _cost(config: RunConfig, laps: Sequence[Lap], evaluation: float, source: str) -> Cost:
    """What steps that took so long, and such an evaluation, cost."""
    completions = len(laps) * config.rollout.problems * config.rollout.samples
    return Cost(
        step=sum(lap.total for lap in laps) / len(laps),
        evaluation=evaluation,
        completion=sum(lap.generation for lap in laps) / completions,
        source=source,
    )


def _measured(config: RunConfig) -> Cost:
    """Run a few steps and a part of an evaluation, in a folder that is thrown away."""
    bare = replace(config, reward="ground_truth", labels=LabelsConfig(), steps=STEPS, pool_size=0)
    trial = prepare(bare)
    with (
        TemporaryDirectory() as scratch,
        claim(Path(scratch) / "run", trial.document, resume=False) as directory,
    ):
        for step in range(1, STEPS + 1):
            one_step(trial, directory, step, Silent(), [])
        return _cost(config, laps_of(directory)[1:], _evaluation_seconds(trial), "measured")


def _evaluation_seconds(trial: Trial) -> float:
    """Seconds of a whole evaluation, from a part of every benchmark."""
    total = 0.0
    for benchmark in trial.benchmarks:
        count = min(PROBLEMS, len(benchmark.problems))
        started = time.perf_counter()
        evaluate(trial.engine, benchmark.problems[:count], benchmark.prompts[:count],
                 benchmark.contract)  # fmt: skip
        total += (time.perf_counter() - started) * len(benchmark.problems) / count
    return total
