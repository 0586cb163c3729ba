"""The clipping laboratory carried out: twin, local drift by dose, trajectories, and a decision.

::

    OUT/twin.json             drift of a two-strategy policy, by simulation
    OUT/doses/up, down        two short runs that pay for the neutral marker, and against it
    OUT/drift/<dose>-<how>    local drift from the checkpoint at which the marker has that share
    OUT/study.json, runs/     trajectories: good and bad code under random rewards, every treatment
    OUT/clipping.json         the decision and all it rests on
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.claims.carry import study_file
from rlvr_placebo.claims.claim import Arm, Effect, Reading, Rule
from rlvr_placebo.claims.decide import find
from rlvr_placebo.claims.readings import outcomes_of
from rlvr_placebo.clipping.cells import CELLS, OFF
from rlvr_placebo.clipping.drift import DOCUMENT, marker_log_odds
from rlvr_placebo.clipping.twin import Twin, table
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.core.statistics import interval, mean_of_runs, two_groups
from rlvr_placebo.rewards.spec import parse
from rlvr_placebo.study.local import Launch, Progress, run_study
from rlvr_placebo.study.matrix import load_study
from rlvr_placebo.study.pool import Job, carry_out
from rlvr_placebo.train.settings import make_config
from rlvr_placebo.train.watch import Watch
from rlvr_placebo.verdict.power import detectable

RESULT, TWIN = "clipping.json", "twin.json"
MODEL, BAD, REWARD = "pocket/code-prior", "pocket/bad-code", "random(0.5)"
DOSES = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of answers that open with the marker
DOSE_STEPS = 40
SGD, ADAMW = "sgd", "adamw"
# With these the clips bind on about one token in a hundred, as in the trajectories, and the policy
# stays near (KL 0.001 a rollout); chosen by that alone, on batches that the laboratory has not.
HOW: Mapping[str, Mapping[str, Any]] = {
    SGD: {"optimizer": SGD, "learning_rate": 0.1, "epsilon": 0.1},
    ADAMW: {"optimizer": ADAMW, "learning_rate": 1e-4, "epsilon": 0.1},  # fresh moments each batch
}
FEWER = 3  # as many batches are enough for AdamW, which is far less noisy
LOGGED = (
    "clip_ratio/high_mean", "clip_ratio/low_mean", "first_token/high_bound_of_positive",
    "first_token/low_bound_of_negative", "first_token/entropy", "first_token/kl_rollout",
    "first_token/max_logprob_difference", "entropy", "kl_rollout", "grad_norm",
)  # fmt: skip
MARGIN = 0.005  # log-odds per rollout: half a unit in a hundred rollouts


class Decision(StrEnum):
    """What the laboratory says of clipping under random rewards."""

    SIGNAL = "signal"
    ACCURACY = "reaches accuracy"
    STABILISER = "stabiliser only"
    UNDECIDED = "undecided"


RULES: Mapping[Decision, str] = {
    Decision.ACCURACY: "signal, and good code ends surely above off, by 3 points or more",
    Decision.SIGNAL: "both − off drifts surely towards the likelier habit, and the random mask "
    "does not",
    Decision.STABILISER: "no such drift beyond ± 0.005 log-odds a rollout, and runs end surely "
    "above off, or with a smaller spread, in both families",
    Decision.UNDECIDED: "otherwise",
}


def run_laboratory(
    launch: Launch, watch: Watch, batches: int = 40,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:  # fmt: skip
    """Carry out what is left of the laboratory and decide.

    Args:
        launch: where, with how many workers, and for how long.
        watch: hears of the parts that are no study.
        batches: of local drift, in each of its cells; a third of them by AdamW.
        report: hears of the trajectories.

    Returns:
        What ``clipping.json`` holds: ``decision`` (None while something is left to do) and the
        parts behind it.

    Raises:
        PlaceboError: the folder holds something else, or a part failed.
    """
    started = time.monotonic()
    out = launch.out

    study = load_study(study_file("clipping"))
    run_study(study, replace(launch, seconds=0.0), report)  # claims the folder
    if not (out / TWIN).exists():
        write_json(out / TWIN, _twin())
    carry_out(_dosing(out), launch.workers, "doses", watch, launch.since(started).seconds)
    drifts: dict[str, Job] = {}
    if all(job.done for job in _dosing(out).values()):
        drifts = _drifting(out, batches)
        carry_out(drifts, launch.workers, "local drift", watch, launch.since(started).seconds)
    run_study(study, launch.since(started), report)
    whole = bool(drifts) and all(job.done for job in drifts.values())
    document = _document(out, StudyFolder.open(out), drifts if whole else {})
    write_json(out / RESULT, document)
    return document


def _twin() -> dict[str, Any]:
    shares = (0.1, 0.3, 0.5, 0.7, 0.9)
    return {
        "sgd": table(shares, (0.0005, 0.005, 0.05), 2000),
        "one update": table(shares, (0.05,), 200, Twin(updates=1)),
    }


def _dosing(out: Path) -> dict[str, Job]:
    """Two short runs along which the marker becomes more and less frequent."""
    jobs = {}
    for name, reward in (("up", "marker"), ("down", "not(marker)")):
        settings = {"steps": DOSE_STEPS, "checkpoint_every": 1, "pool": "pocket-train@400",
                    "evaluation.benchmarks": ["pocket-fresh@3"], "evaluation.samples": 1,
                    "seed": 1}  # fmt: skip
        config = make_config(MODEL, parse(reward), "pocket", settings).as_dict()
        jobs[name] = Job("train", out / "doses" / name, out / "logs" / f"{name}.txt",
                         {"config": config, "shared": str(out / "shared")})  # fmt: skip
    return jobs


def _drifting(out: Path, batches: int) -> dict[str, Job]:
    """Local drift from the checkpoint that is nearest to each dose."""
    checkpoints = [
        str(out / "doses" / name / "checkpoints" / f"checkpoint-{step}")
        for name in ("up", "down") for step in range(1, DOSE_STEPS + 1)
    ]  # fmt: skip
    known = out / "doses.json"
    if not known.exists():
        write_json(known, marker_log_odds([MODEL, *checkpoints]))
    odds = RunDirectory(out).read_json(known.name)
    jobs = {}
    for dose in DOSES:
        wanted = math.log(dose / (1 - dose))
        model = min(odds, key=lambda path: abs(odds[path] - wanted))
        for how, settings in HOW.items():
            name = f"{dose:g}-{how}"
            own = batches if how == SGD else max(2, batches // FEWER)
            lab = {"model": model, "batches": own, **settings}
            jobs[name] = Job("drift", out / "drift" / name, out / "logs" / f"drift-{name}.txt",
                             {"lab": lab})  # fmt: skip
    return jobs


def _document(out: Path, folder: StudyFolder, drifts: Mapping[str, Job]) -> dict[str, Any]:
    local = {name: RunDirectory(job.out).read_json(DOCUMENT) for name, job in drifts.items()}
    towards = {how: _towards(local, how) for how in HOW} if local else {}
    whole = len(folder.finished_runs()) == len(folder.names)
    ends = _trajectories(folder) if whole else {}
    decision = decide(towards[SGD], ends) if towards and ends else None
    return {
        "decision": decision and str(decision),
        "rule": RULES[decision] if decision else "",
        "rules": {str(name): rule for name, rule in RULES.items()},
        "towards_likelier": towards,
        "local": [
            {"name": name, "before": d["before"], "lab": d["lab"], "cells": d["cells"],
             "logged": {cell: _means(_rows(d, cell)) for cell in CELLS}}
            for name, d in local.items()
        ],
        "trajectories": ends,
        "twin": RunDirectory(out).read_json(TWIN),
    }  # fmt: skip


def _towards(local: Mapping[str, Any], how: str) -> dict[str, dict[str, Any]]:
    """Cell − off towards the likelier side, over the doses that have one; in log-odds a rollout."""
    found = {}
    own = [d for name, d in local.items() if name.endswith(how) and abs(d["before"]) > 0.5]
    for cell in CELLS:
        if cell == OFF:
            continue
        # One value per batch: doses share problems and seeds, so batches are what is independent.
        by = [
            [np.sign(d["before"]) * (row["drift"] - off["drift"])
             for row, off in zip(_rows(d, cell), _rows(d, OFF), strict=True)]
            for d in own
        ]  # fmt: skip
        one = mean_of_runs(np.mean(by, axis=0).tolist())
        seen = detectable(one.stderr or 0.0, one.clusters - 1)
        found[cell] = {**one.as_dict(), "interval90": interval([one], 0.90), "detectable": seen}
    return found


def _rows(document: Mapping[str, Any], cell: str) -> list[dict[str, Any]]:
    return [row for row in document["rows"] if row["cell"] == cell]


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What was logged, averaged over steps or batches; what only some have is left out."""
    return {
        key: float(np.mean([row[key] for row in rows]))
        for key in LOGGED
        if all(row.get(key) is not None for row in rows)
    }


def _trajectories(folder: StudyFolder) -> dict[str, dict[str, Any]]:
    """Where runs end, beside off: mean, and spread over seeds; by model and cell."""
    by_arm: dict[tuple[str, str], list[RunDirectory]] = {}
    for entry in folder.document["runs"]:
        arm = (entry["model"], entry["variant"])
        by_arm.setdefault(arm, []).append(folder.run(entry["name"]))

    def look(arm: Arm, reading: Reading) -> Any:  # noqa: ANN401 (Outcomes)
        return outcomes_of(by_arm[arm.model, arm.variant], reading, lambda run, reading: run)

    reading = Reading()
    found: dict[str, dict[str, Any]] = {}
    for (model, cell), runs in by_arm.items():
        own = Arm(model, REWARD, cell)
        gain = find(Effect("gain", ((1.0, own, reading),)), look)
        level = 100 * np.nanmean(look(own, Reading(change=False)).share_S_P, axis=1)
        entry: dict[str, Any] = {
            "seeds": len(runs), "gain": gain.contrast.scaled(100.0), "ends": level.tolist(),
            "logged": _means([row for run in runs for row in run.metrics("step")]),
        }  # fmt: skip
        if cell != OFF:
            off = Arm(model, REWARD, OFF)
            both = ((1.0, own, reading), (-1.0, off, reading))
            beyond = find(Effect("over off", both, Rule.RISES), look)
            one, other = (np.nanmean(look(a, reading).share_S_P, axis=1) for a in (own, off))
            entry |= {
                "over_off": beyond.contrast.scaled(100.0),
                "rises": beyond.finding == "shown",
                "spread": two_groups((100 * one).tolist(), (100 * other).tolist()),
                "sd": float(100 * one.std(ddof=1)),
                "sd_off": float(100 * other.std(ddof=1)),
                "detectable": beyond.detectable,
            }
        found.setdefault(model, {})[cell] = entry
    return found


def decide(
    towards: Mapping[str, Mapping[str, Any]], ends: Mapping[str, Mapping[str, Any]]
) -> Decision:
    """The decision, by the rules written in :data:`RULES`.

    Args:
        towards: drift of each cell beyond off, towards the likelier habit (SGD).
        ends: where trajectories end, by model and cell.
    """
    low, high = towards["both"]["interval90"]
    signal = low > 0 >= towards["random mask"]["interval90"][0]
    good, bad = ends[MODEL]["both"], ends[BAD]["both"]
    if signal and good["rises"]:
        return Decision.ACCURACY
    if signal:
        return Decision.SIGNAL
    none = low > -MARGIN and high < MARGIN
    steadier = all(_steadier(entry) for entry in (good, bad))
    return Decision.STABILISER if none and steadier else Decision.UNDECIDED


def _steadier(entry: Mapping[str, Any]) -> bool:
    """Ends surely above off by δ, or surely with a smaller spread."""
    narrower = entry["sd"] < entry["sd_off"] and (entry["spread"]["variances"] or 1.0) <= 0.05
    return bool(entry["rises"] or narrower)
