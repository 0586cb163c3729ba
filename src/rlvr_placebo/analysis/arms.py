"""Arms: all seeds of one model × reward × variant, and what they gained over the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.rundir import RunDirectory, open_run
from rlvr_placebo.core.statistics import add_errors, clustered_mean, mean_of_runs

if TYPE_CHECKING:
    import pyarrow as pa

ERROR_IN_WORDS = (
    "± is one standard error: the root of the variance between training seeds (s²/S) plus the "
    "variance over problems, clustered by template, of the gain averaged over seeds (this holds "
    "the choice of problems and the decoding noise)."
)


@dataclass(frozen=True, eq=False)
class Samples:
    """The judged samples of one evaluation at one temperature on one benchmark.

    ``correct_P`` is the share of right answers of each problem among those that could be judged
    (NaN where none could); ``cluster`` and ``code`` go with it.
    """

    problems: tuple[str, ...]
    clusters: tuple[str, ...]
    correct_P: np.ndarray
    code: float


def gains(runs: Sequence[RunDirectory]) -> list[dict[str, Any]]:
    """What each arm gained: one entry per model, reward, variant, benchmark and temperature.

    Gain = accuracy after the last step − accuracy of the untrained model, in points per hundred,
    on the same problems. Its error is described by :data:`ERROR_IN_WORDS`; with one seed it lacks
    the variance between seeds, and ``error_contains`` says so.

    Args:
        runs: finished runs, of any number of arms.

    Raises:
        PlaceboError: runs of one arm were evaluated under different contracts.
    """
    arms: dict[tuple[str, str, str], list[RunDirectory]] = {}
    for run in runs:
        config = run.config
        key = (config["model"], config["reward_name"], config["variant"])
        arms.setdefault(key, []).append(run)
    entries = []
    for (model, reward, variant), members in arms.items():
        for benchmark, temperature in _end_points(members):
            head = {"model": model, "reward": reward, "variant": variant}
            entries.append({**head, **_gain(members, benchmark, temperature)})
    return entries


def _end_points(members: Sequence[RunDirectory]) -> list[tuple[str, float]]:
    """Benchmarks and temperatures of an arm; all its runs must share their contracts."""
    contracts = [run.metrics("evaluation")[0]["contracts"] for run in members]
    for run, found in zip(members, contracts, strict=True):
        if found != contracts[0]:
            raise PlaceboError(f"{run.path} and {members[0].path}: evaluation contracts differ")
    return [(c["benchmark"], d["temperature"]) for c in contracts[0] for d in c["decodings"]]


def _gain(members: Sequence[RunDirectory], benchmark: str, temperature: float) -> dict[str, Any]:
    """Base, final and gain of one arm at one end point."""
    before = [samples(run.evaluation(0), benchmark, temperature) for run in members]
    after = [
        samples(run.evaluation(run.config["steps"]), benchmark, temperature) for run in members
    ]
    first = before[0]
    gain_S_P = np.array([a.correct_P - b.correct_P for a, b in zip(after, before, strict=True)])
    judged = np.asarray(np.isfinite(gain_S_P).all(axis=0))
    clusters = [c for c, known in zip(first.clusters, judged.tolist(), strict=True) if known]
    over_problems = clustered_mean(gain_S_P[:, judged].mean(axis=0), clusters, "cluster")
    over_seeds = mean_of_runs(gain_S_P[:, judged].mean(axis=1).tolist())
    error = add_errors(over_problems, over_seeds)
    return {
        "benchmark": benchmark,
        "temperature": temperature,
        "seeds": sorted(run.config["seed"] for run in members),
        "base": _points(np.nanmean([b.correct_P for b in before])),
        "final": _points(np.nanmean([a.correct_P for a in after])),
        "gain": _points(over_problems.value),
        "stderr": _points(error),
        "n": int(judged.sum()),
        "clusters": over_problems.clusters,
        "error_contains": ["problems", "decoding"] + ["seeds"] * (over_seeds.stderr is not None),
        "gain_by_seed": [_points(g) for g in gain_S_P[:, judged].mean(axis=1)],
        "code_frequency_before": float(np.mean([b.code for b in before])),
        "code_frequency_after": float(np.mean([a.code for a in after])),
    }


def _points(share: float | None) -> float | None:
    """A share of one as points per hundred."""
    return None if share is None else 100.0 * float(share)


def samples(table: pa.Table, benchmark: str, temperature: float) -> Samples:
    """Gather one end point of an evaluation by problem, in the order of the benchmark."""
    names = ("benchmark", "temperature", "problem_id", "cluster", "correct", "code")
    rows = [
        r for r in table.select(names).to_pylist()
        if r["benchmark"] == benchmark and r["temperature"] == temperature
    ]  # fmt: skip
    by_problem: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_problem.setdefault(row["problem_id"], []).append(row)
    return Samples(
        problems=tuple(by_problem),
        clusters=tuple(group[0]["cluster"] for group in by_problem.values()),
        correct_P=np.array([_share_right(group) for group in by_problem.values()]),
        code=float(np.mean([r["code"] for r in rows])),
    )


def _share_right(rows: Sequence[dict[str, Any]]) -> float:
    judged = [r["correct"] for r in rows if r["correct"] is not None]
    return float(np.mean(judged)) if judged else float("nan")


def finished_runs(folder: Path) -> list[RunDirectory]:
    """The finished runs directly below a folder, in the order of their names."""
    runs = [open_run(p.parent) for p in sorted(folder.glob("*/config.json"))]
    return [run for run in runs if run.finished]
