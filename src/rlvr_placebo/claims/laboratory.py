"""The clipping laboratory carried out: twin, local drift by dose, trajectories, and a decision.

::

    OUT/twin.json             drift of a two-strategy policy, by simulation
    OUT/doses/up, down        two short runs that pay for the neutral marker, and against it
    OUT/drift/<dose>-<how>    local drift from the checkpoint at which the marker has that share
    OUT/study.json, runs/     trajectories: good and bad code under random rewards, every treatment
    OUT/drift.json, ends.json what is kept of both; with it nothing above is needed any more
    OUT/clipping.json         the decision and all it rests on
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.claims.carry import study_file
from rlvr_placebo.claims.kept import DRIFTS, ENDS, keep_drifts, keep_ends, known
from rlvr_placebo.claims.settle import MODEL, RULES, decide, means, rows_of, towards, trajectories
from rlvr_placebo.clipping import twin as twin_module
from rlvr_placebo.clipping.cells import CELLS
from rlvr_placebo.clipping.drift import marker_log_odds
from rlvr_placebo.clipping.twin import Twin, table
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest, write_json
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.rewards.spec import parse
from rlvr_placebo.study.local import Launch, Progress, claimed, run_claimed
from rlvr_placebo.study.matrix import Study, load_study
from rlvr_placebo.study.pool import Job, carry_out
from rlvr_placebo.train.settings import make_config
from rlvr_placebo.train.watch import Watch

RESULT, TWIN, ODDS = "clipping.json", "twin.json", "doses.json"
WAYS = {"up": "marker", "down": "not(marker)"}  # runs along which the dose changes
DOSES = (0.03, 0.3, 0.5, 0.7, 0.85)  # shares of answers that open with the marker
DOSE_STEPS = 40
SGD, ADAMW = "sgd", "adamw"
# With these the clips bind on about one token in a hundred, as in the trajectories, and the policy
# stays near (KL 0.001 a rollout); chosen by that alone, on batches that the laboratory has not.
HOW: Mapping[str, Mapping[str, Any]] = {
    SGD: {"optimizer": SGD, "learning_rate": 0.15, "epsilon": 0.1},
    ADAMW: {"optimizer": ADAMW, "learning_rate": 3e-4, "epsilon": 0.1},  # fresh moments each batch
}
FEWER = 3  # as many batches are enough for AdamW, which is far less noisy


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
        PlaceboError: the folder holds something else or other settings, or a part failed.
    """
    study = load_study(study_file("clipping"))
    with claimed(launch.out, study):
        return _run_laboratory(study, launch, watch, batches, report)


def _run_laboratory(
    study: Study, launch: Launch, watch: Watch, batches: int, report: Callable[[Progress], None]
) -> dict[str, Any]:
    started, out = time.monotonic(), launch.out
    kept = known(out, DRIFTS)
    _check_drifts(out, kept, batches)
    twin = _known_twin(out)
    left = [name for name in _names() if name not in kept]
    if left:
        carry_out(_dosing(out), launch.workers, "doses", watch, launch.since(started).seconds)
        if all(job.done for job in _dosing(out).values()):
            drifts = {n: job for n, job in _drifting(out, batches).items() if n in left}
            carry_out(drifts, launch.workers, "local drift", watch, launch.since(started).seconds)
        kept = keep_drifts(out, {name: RunDirectory(out / "drift" / name) for name in left})
    made = {n: run["identity"] for n, run in known(out, ENDS).get("runs", {}).items()}
    run_claimed(study, replace(launch.since(started), known=made), report)
    ends = keep_ends(StudyFolder.open(out))
    document = _document(twin, kept, ends, list(study.runs))
    write_json(out / RESULT, document)
    return document


def _measured(out: Path, name: str) -> dict[str, Any]:
    """What stands in a file that is cheap to make again; nothing where it is missing or damaged."""
    try:
        return RunDirectory(out).read_json(name) if (out / name).exists() else {}
    except PlaceboError:
        return {}


def _known_twin(out: Path) -> dict[str, Any]:
    """The tabular twin, as its code is now."""
    code = digest(inspect.getsource(twin_module))
    known = _measured(out, TWIN)
    if known.get("code") != code:
        known = {"code": code, **_twin()}
        write_json(out / TWIN, known)
    return known


def _twin() -> dict[str, Any]:
    shares = (0.1, 0.3, 0.5, 0.7, 0.9)
    return {
        "sgd": table(shares, (0.0005, 0.005, 0.05), 2000),
        "one update": table(shares, (0.05,), 200, Twin(updates=1)),
    }


def _dosing(out: Path) -> dict[str, Job]:
    """Two short runs along which the marker becomes more and less frequent."""
    jobs = {}
    for name, reward in WAYS.items():
        settings = {"steps": DOSE_STEPS, "checkpoint_every": 1, "pool": "pocket-train@400",
                    "evaluation.benchmarks": ["pocket-fresh@3"], "evaluation.samples": 1,
                    "seed": 1}  # fmt: skip
        config = make_config(MODEL, parse(reward), "pocket", settings).as_dict()
        jobs[name] = Job("train", out / "doses" / name, out / "logs" / f"{name}.txt",
                         {"config": config, "shared": str(out / "shared")})  # fmt: skip
    return jobs


def _check_drifts(out: Path, kept: Mapping[str, Any], batches: int) -> None:
    """Refuse to mix measurements that were begun with other settings.

    Raises:
        PlaceboError: which, and what differs.
    """
    for dose in DOSES:
        for how in HOW:
            name = _name(dose, how)
            run = RunDirectory(out / "drift" / name)
            if name in kept:
                begun = kept[name]["lab"]
            elif (run.path / "config.json").exists():
                begun = run.config.get("lab", {})
            else:
                continue
            for key, value in _settings(how, batches).items():
                if begun.get(key) != value:
                    raise PlaceboError(
                        f"{out}: {name} was begun with {key} {begun.get(key)}, not {value}; ask "
                        "for the same (--batches), or choose another --out"
                    )


def _names() -> list[str]:
    """The measurements of local drift, in their order."""
    return [_name(dose, how) for dose in DOSES for how in HOW]


def _name(dose: float, how: str) -> str:
    return f"{dose:g}-{how}"


def _settings(how: str, batches: int) -> dict[str, Any]:
    return {"batches": batches if how == SGD else max(2, batches // FEWER), **HOW[how]}


def _drifting(out: Path, batches: int) -> dict[str, Job]:
    """Local drift from the checkpoint that is nearest to each dose."""
    odds = _odds(out)
    jobs = {}
    for dose in DOSES:
        wanted = math.log(dose / (1 - dose))
        nearest = min(odds, key=lambda key: abs(odds[key] - wanted))
        for how in HOW:
            name = _name(dose, how)
            lab = {"model": _checkpoint(out, nearest), **_settings(how, batches)}
            jobs[name] = Job("drift", out / "drift" / name, out / "logs" / f"drift-{name}.txt",
                             {"lab": lab})  # fmt: skip
    return jobs


def _odds(out: Path) -> dict[str, float]:
    """Log-odds of the marker at every dose's checkpoint, ``up/7``, and untrained, ``start``."""
    names = ["start", *(f"{way}/{step}" for way in WAYS for step in range(1, DOSE_STEPS + 1))]
    known = _measured(out, ODDS)
    if known.keys() != set(names):
        for way in WAYS:
            RunDirectory(out / "doses" / way).must_be_whole()
        found = marker_log_odds([_checkpoint(out, name) for name in names])
        known = dict(zip(names, found, strict=True))
        write_json(out / ODDS, known)
    return known


def _checkpoint(out: Path, name: str) -> str:
    """Where a dose's checkpoint is."""
    if name == "start":
        return MODEL
    way, _, step = name.partition("/")
    return str((out / "doses" / way / "checkpoints" / f"checkpoint-{step}").resolve())


def _document(
    twin: Mapping[str, Any], local: Mapping[str, Any], ends: Mapping[str, Any], names: list[str]
) -> dict[str, Any]:
    local = {n: local[n] for n in _names()} if local.keys() >= set(_names()) else {}
    drifted = {how: towards(local, how) for how in HOW} if local else {}
    ended = trajectories(ends, names) if ends["runs"].keys() >= set(names) else {}
    decision = decide(drifted[SGD], ended) if drifted and ended else None
    return {
        "decision": decision and str(decision),
        "rule": RULES[decision] if decision else "",
        "rules": {str(name): rule for name, rule in RULES.items()},
        "towards_likelier": drifted,
        "local": [
            {"name": name, **{key: d[key] for key in ("before", "side", "lab", "cells")},
             "logged": {cell: means(rows_of(d, cell)) for cell in CELLS}}
            for name, d in local.items()
        ],
        "trajectories": ended,
        "twin": twin,
    }  # fmt: skip
