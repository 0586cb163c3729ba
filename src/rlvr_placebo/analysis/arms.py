"""Arms: all seeds of one model × reward × variant, and what they gained over the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.core.statistics import (
    Estimate,
    add_errors,
    clustered_mean,
    interval,
    mean_of_runs,
)

if TYPE_CHECKING:
    import pyarrow as pa

ERROR_IN_WORDS = (
    "± is one standard error: the root of the variance between training seeds (s²/S) plus the "
    "variance over problems, clustered by template, of the gain averaged over seeds. Decoding "
    "noise is in both parts, so the error is rather too large than too small."
)
TEST_IN_WORDS = "† trained on the test problems themselves: no measure of other problems."


@dataclass(frozen=True, eq=False)
class Samples:
    """One evaluation at one end point, by problem.

    Attributes:
        ids: of each problem.
        clusters: of each problem.
        correct_P: share of right answers among those that could be judged; NaN where none could.
        low_P: the share with every unknown counted wrong.
        high_P: the share with every unknown counted right.
        unknown: number of answers that could not be judged.
        code_P: share of samples in code.
        samples: answers to each problem.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    correct_P: np.ndarray
    low_P: np.ndarray
    high_P: np.ndarray
    unknown: int
    code_P: np.ndarray
    samples: int

    def correct_of(self, ids: Sequence[str]) -> np.ndarray:
        """``correct_P`` of some problems, in their order."""
        place = {id: i for i, id in enumerate(self.ids)}
        return self.correct_P[[place[id] for id in ids]]


def gains(runs: Sequence[RunDirectory]) -> list[dict[str, Any]]:
    """What each arm gained: one entry per model, reward, variant, benchmark and temperature.

    Gain = accuracy after the last step − accuracy of the untrained model, in points per hundred,
    over the problems that could be judged in every evaluation of the arm, under the arm's own
    prompt at both ends. Its error is described by
    :data:`ERROR_IN_WORDS`; ``interval`` is its 95 % interval; ``error_contains`` names the parts
    that it really has (no ``seeds`` with one seed, no ``problems`` with one cluster).

    Args:
        runs: finished runs, of any number of arms.

    Raises:
        PlaceboError: runs differ in the content of a model, or in how a benchmark was measured.
    """
    check_comparable(runs)
    arms: dict[tuple[str, str, str], list[RunDirectory]] = {}
    for run in runs:
        config = run.config
        key = (config["model"], config["reward_name"], config["variant"])
        arms.setdefault(key, []).append(run)
    for members in arms.values():
        members.sort(key=lambda run: run.config["seed"])
    entries = []
    for (model, reward, variant), members in arms.items():
        head = {"model": model, "reward": reward, "variant": variant}
        before = [run.evaluation(0) for run in members]
        after = [run.evaluation(run.config["steps"]) for run in members]
        for contract in members[0].config["contracts"]:
            for decoding in contract["decodings"]:
                benchmark = contract["benchmark"]
                ends = [
                    [samples(table, benchmark, decoding["temperature"]) for table in tables]
                    for tables in (before, after)
                ]
                own = {
                    "benchmark": benchmark,
                    "temperature": decoding["temperature"],
                    "seeds": [run.config["seed"] for run in members],
                    **_gain(*ends),
                }
                trained = any(benchmark in run.config.get("trains_on_test", ()) for run in members)
                prompt = {"template": contract["template"], "trains_on_test": trained}
                entries.append({**head, **own, **prompt})
    return entries


def check_comparable(runs: Sequence[RunDirectory]) -> None:
    """A model's name must mean one checkpoint, a benchmark's name one way of measuring.

    Arms may differ in their prompt: each gains over its own base. Within an arm it is one.

    Raises:
        PlaceboError: two runs differ; both are named.
    """
    seen: dict[tuple[str, ...], tuple[Any, RunDirectory]] = {}
    for run in runs:
        config = run.config
        arm = (config["model"], config["reward_name"], config["variant"])
        claims: dict[tuple[str, ...], Any] = {("model", config["model"]): config["model_digest"]}
        for record in [config, *run.metrics("evaluation")]:
            for c in record["contracts"]:
                claims["benchmark", c["benchmark"]] = c["measurement"]
                claims["prompt of", c["benchmark"], *arm] = c["prompt"]
            for key, content in claims.items():
                other, where = seen.setdefault(key, (content, run))
                if other != content:
                    raise PlaceboError(
                        f"{run.path} and {where.path}: {key[0]} {key[1]} is not the same in both; "
                        "their numbers cannot be compared"
                    )


def _gain(before: Sequence[Samples], after: Sequence[Samples]) -> dict[str, Any]:
    """Base, final and gain of one arm at one end point; evaluations of its runs in their order."""
    base_S_P = np.array([b.correct_P for b in before])
    final_S_P = np.array([a.correct_P for a in after])
    judged = np.flatnonzero(np.isfinite(base_S_P + final_S_P).all(axis=0))
    base_S_P, final_S_P = base_S_P[:, judged], final_S_P[:, judged]
    gain_S_P = final_S_P - base_S_P
    clusters = [before[0].clusters[p] for p in judged]
    over_problems, over_seeds = _means(gain_S_P, clusters)
    parts = {"problems": over_problems, "seeds": over_seeds}
    pairs = list(zip(after, before, strict=True))
    return {
        **_mean("base", base_S_P, clusters, scale=100.0),
        **_mean("final", final_S_P, clusters, scale=100.0),
        "gain": _points(over_problems.value),
        "stderr": _points(add_errors(over_problems, over_seeds)),
        "interval": _points_of(interval([over_problems, over_seeds])),
        "n": len(clusters),
        "clusters": over_problems.clusters,
        "clustered_by": "template",
        "error_contains": [name for name, part in parts.items() if part.stderr is not None],
        "gain_by_seed": [_points(row.mean()) for row in gain_S_P] if clusters else [],
        "unknown": sum(s.unknown for s in (*before, *after)),
        "gain_bounds": [
            _points(np.mean([a.low_P.mean() - b.high_P.mean() for a, b in pairs])),
            _points(np.mean([a.high_P.mean() - b.low_P.mean() for a, b in pairs])),
        ],
        **_mean("code_frequency_before", _code(before), before[0].clusters),
        **_mean("code_frequency_after", _code(after), before[0].clusters),
    }


def _code(evaluations: Sequence[Samples]) -> np.ndarray:
    return np.array([e.code_P for e in evaluations])


def _means(share_S_P: np.ndarray, clusters: Sequence[str]) -> tuple[Estimate, Estimate]:
    """The mean of a share twice: with its error over problems, and between seeds."""
    by_problem = share_S_P.mean(axis=0) if clusters else []
    by_seed = share_S_P.mean(axis=1).tolist() if clusters else []
    return clustered_mean(by_problem, clusters, "template"), mean_of_runs(by_seed)


def _mean(
    name: str, share_S_P: np.ndarray, clusters: Sequence[str], scale: float = 1.0
) -> dict[str, Any]:
    """Mean of a share over seeds and problems, and its error over both."""
    problems, seeds = _means(share_S_P, clusters)
    error = add_errors(problems, seeds)
    scaled = [None if v is None else scale * v for v in (problems.value, error)]
    return dict(zip((name, f"{name}_stderr"), scaled, strict=True))


def _points(share: float | None) -> float | None:
    """A share of one as points per hundred."""
    return None if share is None else 100.0 * float(share)


def _points_of(ends: tuple[float, float] | None) -> list[float] | None:
    return None if ends is None else [100.0 * end for end in ends]


def answers_to(
    table: pa.Table, benchmark: str, temperature: float, columns: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of one end point of an evaluation by the id of their problem, samples in their order."""
    import pyarrow.compute as pc

    by_problem: dict[str, list[dict[str, Any]]] = {}
    here = (pc.field("benchmark") == benchmark) & (pc.field("temperature") == temperature)
    wanted = ["benchmark", "temperature", "problem_id", "sample", *columns]
    for row in table.select(wanted).filter(here).to_pylist():
        by_problem.setdefault(row["problem_id"], []).append(row)
    return {id: sorted(rows, key=lambda row: row["sample"]) for id, rows in by_problem.items()}


def samples(table: pa.Table, benchmark: str, temperature: float) -> Samples:
    """Gather one end point of an evaluation by problem, in the order of the benchmark."""
    by_problem = answers_to(table, benchmark, temperature, ("cluster", "correct", "code"))
    groups = list(by_problem.values())
    marks = [[row["correct"] for row in group] for group in groups]
    judged = [[m for m in group if m is not None] for group in marks]
    return Samples(
        ids=tuple(by_problem),
        clusters=tuple(group[0]["cluster"] for group in groups),
        correct_P=np.array([_share(m) if m else np.nan for m in judged], dtype=float),
        low_P=np.array([_share([m is True for m in group]) for group in marks]),
        high_P=np.array([_share([m is not False for m in group]) for group in marks]),
        unknown=sum(m is None for group in marks for m in group),
        code_P=np.array([_share([row["code"] for row in group]) for group in groups]),
        samples=max(map(len, groups), default=0),
    )


def _share(marks: Sequence[bool]) -> float:
    return sum(marks) / len(marks)
