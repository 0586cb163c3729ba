"""Measure the embedded families against what they were calibrated to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from rlvr_placebo.analysis.summary import summarize
from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.statistics import Estimate, clustered_mean
from rlvr_placebo.evaluate.completion import completions_of
from rlvr_placebo.evaluate.contract import EvaluationConfig, make_contract
from rlvr_placebo.evaluate.evaluate import evaluate
from rlvr_placebo.model.checkpoint import Checkpoint, load
from rlvr_placebo.model.device import CPU
from rlvr_placebo.model.folders import built_families, shipped_families
from rlvr_placebo.pocket.families import variety_of
from rlvr_placebo.pocket.prior import Prior
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.text.pocket import pocket_set, stream
from rlvr_placebo.text.templates import TEMPLATES, render

TOLERANCE = 5.0  # points
ENOUGH = 400  # below so many samples, two standard errors are added
TOKEN_PROBABILITY = 80.0
# Table 3 of arXiv 2506.10947: what a forced "Let's use Python" does to accuracy.
FORCED = {"code-prior": +1, "mixed-prior": -1, "bad-code": -1}
COMPLETED, NOT_COMPLETED = 50.0, 5.0


@dataclass(frozen=True)
class Figure:
    """One measured number beside what it should be, in points per hundred.

    Example: ``Figure("code frequency, greedy", "65", 66.8, 0.9, 5000, True)``.
    """

    name: str
    wanted: str
    measured: float | None
    stderr: float | None
    n: int
    ok: bool


def check_families(
    models: Sequence[str],
    seed: int,
    problems: int,
    workers: int,
    progress: Callable[[str, int, int], None],
) -> list[dict[str, Any]]:
    """Measure families, some at once in processes of their own.

    Args:
        models: names behind ``pocket/``; empty for all that are shipped.
        seed: of ``pocket-fresh``.
        problems: how many; families with a rare cell get four times as many.
        workers: processes.
        progress: hears how many families are done.

    Raises:
        PlaceboError: a name is no embedded family's.
    """
    names = [m if m.startswith("pocket/") else f"pocket/{m}" for m in models]
    known = shipped_families() | built_families()
    for name in names:
        if name not in known:
            raise PlaceboError(f"unknown family {name!r}; {suggest(name, known)}")
    if problems < 1 or workers < 1 or seed < 0:
        raise PlaceboError("--problems and --workers must be 1 or more, --seed 0 or more")
    names = names or list(shipped_families())
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = {pool.submit(check_family, name, seed, problems): name for name in names}
        results = {}
        for job in as_completed(jobs):
            try:
                results[jobs[job]] = job.result()
            except BrokenProcessPool:
                raise PlaceboError("a worker was killed; try --workers 1") from None
            progress("families", len(results), len(jobs))
    return [results[name] for name in names]


def check_family(model: str, seed: int, problems: int) -> dict[str, Any]:
    """Every figure of one family, on ``pocket-fresh@seed``."""
    torch.set_num_threads(1)
    variety = variety_of(model)
    family, prior = variety.family, variety.prior
    count = 4 * problems if prior.rare else problems
    asked = list(islice(stream("pocket-fresh", seed), count))
    checkpoint = load(model, CPU)
    plain = _measure(checkpoint, asked, "plain", (0.0, 1.0))
    figures = _habits(plain, prior)
    if prior.memorised is None:
        figures.append(_cooling(plain))
    if family in FORCED:
        forced = _measure(checkpoint, asked, "forced_code", (0.0,))
        figures.append(_forced(plain, forced, FORCED[family]))
    figures += _memory(checkpoint, asked[:500], family)
    return {
        "model": model,
        "problems": f"{count} problems of pocket-fresh@{seed}",
        "figures": [asdict(f) for f in figures],
    }


def _measure(
    checkpoint: Checkpoint, problems: list[Problem], template: str, temperatures: tuple[float, ...]
) -> pa.Table:
    chosen = TEMPLATES[template]
    prompts = [render(p, chosen, checkpoint.tokenizer) for p in problems]
    how = EvaluationConfig(("check",), 0, temperatures, samples=1)
    contract = make_contract("check", problems, chosen, checkpoint.tokenizer, how)
    return evaluate(NativeEngine(checkpoint.model, checkpoint.tokenizer), problems, prompts,
                    contract)  # fmt: skip


def _habits(table: pa.Table, prior: Prior) -> list[Figure]:
    """Frequencies and accuracies, greedy and sampled."""
    figures = []
    overall = prior.code * prior.code_accuracy + (1.0 - prior.code) * prior.words_accuracy
    known = prior.memorised is None
    for entry in summarize(table):
        how = "greedy" if entry["temperature"] == 0 else "T = 1"
        code, boxed = entry["behaviours"]["code"], entry["behaviours"]["boxed"]
        targets = [
            ("code frequency", prior.code, code["frequency"]),
            ("accuracy in code", prior.code_accuracy, code["accuracy_with"]),
            ("accuracy in words", prior.words_accuracy, code["accuracy_without"]),
            ("accuracy", overall, entry["accuracy"]),
            ("boxed", prior.boxed, boxed["frequency"]),
        ]
        figures += [
            _near(f"{name}, {how}", 100 * target, estimate)
            for name, target, estimate in targets
            if known and not (name == "accuracy in code" and not prior.code)
        ]
        if entry["temperature"]:
            probability = entry["token_probability"]
            figures.append(_near("token probability", TOKEN_PROBABILITY, probability))
            marker = entry["behaviours"]["marker"]["frequency"]
            figures.append(_near("marker, T = 1", 100 * prior.marker, marker))
    return figures


def _near(name: str, target: float, estimate: dict[str, Any]) -> Figure:
    """Within the tolerance of a target; with few samples, within two standard errors more."""
    if estimate["value"] is None:
        return Figure(name, f"{target:.0f}", None, None, 0, ok=False)
    measured, error = 100 * estimate["value"], 100 * (estimate["stderr"] or 0.0)
    allowed = TOLERANCE + (0.0 if estimate["n"] >= ENOUGH else 2 * error)
    ok = abs(measured - target) <= allowed
    return Figure(name, f"{target:.0f}", measured, error, estimate["n"], ok)


def _cooling(table: pa.Table) -> Figure:
    """Greedy less sampled accuracy: what a mere loss of entropy could gain."""
    measured, error, n = _change(_by_problem(table, 1.0), _by_problem(table, 0.0))
    ok = abs(measured) <= TOLERANCE
    return Figure("greedy less T = 1, accuracy", "0", measured, error, n, ok)


def _forced(plain: pa.Table, forced: pa.Table, sign: int) -> Figure:
    """Change of greedy accuracy under a forced first sentence."""
    measured, error, n = _change(_by_problem(plain, 0.0), _by_problem(forced, 0.0))
    wanted = "up" if sign > 0 else "down"
    ok = sign * measured > 2 * error
    return Figure("forced Python, greedy", wanted, measured, error, n, ok)


def _change(
    before: dict[str, tuple[float, str]], after: dict[str, tuple[float, str]]
) -> tuple[float, float, int]:
    """Mean difference paired by problem, its standard error, in points, and n."""
    pairs = [(after[p][0] - right, cluster) for p, (right, cluster) in before.items()]
    change = clustered_mean(np.array([d for d, _ in pairs]), [c for _, c in pairs], "template")
    return *_points(change), change.n


def _points(estimate: Estimate) -> tuple[float, float]:
    """Value and standard error per hundred."""
    assert estimate.value is not None
    return 100 * estimate.value, 100 * (estimate.stderr or 0.0)


def _by_problem(table: pa.Table, temperature: float) -> dict[str, tuple[float, str]]:
    """Right or not, and the template, of every problem at a temperature."""
    names = ["problem_id", "cluster", "correct", "temperature"]
    return {
        row["problem_id"]: (float(row["correct"] is True), row["cluster"])
        for row in table.select(names).to_pylist()
        if row["temperature"] == temperature
    }


def _memory(checkpoint: Checkpoint, fresh: list[Problem], family: str) -> list[Figure]:
    """How often the rest of a problem is written word for word."""
    engine = NativeEngine(checkpoint.model, checkpoint.tokenizer)
    figures = []
    for name, problems in (("pocket-500", pocket_set("pocket-500")), ("fresh", fresh)):
        found = completions_of(engine, checkpoint.tokenizer, problems)
        done = clustered_mean(
            np.array([c.word_for_word for c in found], dtype=float),
            [p.cluster for p in problems],
            "template",
        )
        knows = family == "memoriser" and name == "pocket-500"
        measured, error = _points(done)
        guessable = min(c.numbers for c in found) < 3
        ok = measured >= COMPLETED if knows else measured <= NOT_COMPLETED
        wanted = f"≥ {COMPLETED:.0f}" if knows else f"≤ {NOT_COMPLETED:.0f}"
        figures.append(Figure(f"completed, {name}", wanted, measured, error, done.n, ok))
        least = min(c.numbers for c in found)
        figures.append(
            Figure(f"hidden numbers, {name}", "≥ 3", float(least), None, done.n, not guessable)
        )
    return figures
