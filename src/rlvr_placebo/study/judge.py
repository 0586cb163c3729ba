"""Judge a reward: run the arms that were planned (request.py), measure, give the verdict.

::

    OUT/protocol.json      what is compared and by which rules, written before the first run
    OUT/study.json, runs/  the study of all arms (see study/local.py)
    OUT/prompts/<name>     prompt sweeps of the untrained model and of every run of the reward
    OUT/coverage/<name>    many samples of the same models, for pass@k
    OUT/verdict.json       the verdict
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlvr_placebo.analysis.folder import MARKER, StudyFolder
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import differences, locked
from rlvr_placebo.rewards.spec import Spec, parse
from rlvr_placebo.study.local import Launch, Progress, run_study
from rlvr_placebo.study.matrix import Study
from rlvr_placebo.study.pool import Job, carry_out
from rlvr_placebo.study.request import check_delta, named
from rlvr_placebo.train.standalone import computing_of
from rlvr_placebo.train.watch import Watch
from rlvr_placebo.verdict.decision import LEAST_SEEDS, PERMUTED, REWARD
from rlvr_placebo.verdict.evidence import (
    COVERAGE,
    PROMPTS,
    SAMPLED,
    Evidence,
    base_name,
    gather,
)
from rlvr_placebo.verdict.judge import judge
from rlvr_placebo.verdict.protocol import FILE, SAMPLES, Protocol, read_protocol

VERDICT = "verdict.json"


def train_arms(
    study: Study, protocol: Protocol, out: Path, workers: int,
    report: Callable[[Progress], None] = lambda progress: None,
) -> None:  # fmt: skip
    """Write the protocol and carry out what is left of its runs; stopped, the same call goes on.

    Raises:
        PlaceboError: ``out`` holds something else, or every run of an arm failed.
    """
    write_protocol(protocol, out)
    run_study(study, Launch(out, workers, go_on=True), report)


def conclude(protocol: Protocol, out: Path, workers: int, watch: Watch) -> dict[str, Any]:
    """Try prompts, sample for coverage, and judge; stopped at any time, the same call goes on.

    Args:
        protocol: of the study.
        out: its folder; every run of it has ended.
        workers: processes at once.
        watch: hears how many of the models are measured.

    Returns:
        The verdict, as it is in ``verdict.json``.

    Raises:
        PlaceboError: something could not be measured; what was, is kept.
    """
    folder = StudyFolder.open(out)
    jobs: dict[str, Job] = {}
    for evidence in gather(folder, protocol):
        jobs |= _beside(evidence)
    carry_out(jobs, workers, "prompts and coverage", watch)
    return write_verdict(folder, protocol)


def write_protocol(protocol: Protocol, out: Path) -> None:
    """Write the protocol before anything else; another one must not be there."""
    for parent in out.resolve().parents:
        if (parent / MARKER).exists():
            raise PlaceboError(f"{out}: lies inside the study {parent}; choose another --out")
    known = read_protocol(out) if out.is_dir() else None
    if known is not None and known.hash != protocol.hash and (out / "runs").exists():
        keys = sorted(differences(known.as_dict(), protocol.as_dict()))
        keys = ["the code of a reward" if key == "runs" else key for key in keys
                if key != "runs" or len(keys) == 1]  # fmt: skip
        raise PlaceboError(
            f"{out}: holds a verdict by another protocol ({', '.join(keys)} differ); runs made for "
            "one do not count for another: choose another --out"
        )
    with locked(out):
        if known is None and any(out.iterdir()):
            raise PlaceboError(f"{out}: in use, and not by a verdict; choose another --out")
        if known is None or known.hash != protocol.hash:  # nothing was run by the one before
            (out / MARKER).unlink(missing_ok=True)
            write_json(out / FILE, {"protocol": protocol.as_dict(), "hash": protocol.hash})


def write_verdict(folder: StudyFolder, protocol: Protocol) -> dict[str, Any]:
    """Judge a study and leave ``verdict.json`` in its folder."""
    document = judge(folder, protocol)
    write_json(folder.path / VERDICT, document)
    return document


def _beside(evidence: Evidence) -> dict[str, Job]:
    """Prompt sweeps and coverage of the untrained model and of every model the reward trained."""
    models = {base_name(evidence.model): evidence.model}
    for run in evidence.arms[REWARD]:
        if run.finished:
            final = run.path / run.read_json("result.json")["final_checkpoint"]
            models[run.path.name] = str(final)
    config, protocol, folder = evidence.first.config, evidence.protocol, evidence.folder
    common = {key: config["evaluation"][key] for key in ("max_tokens", "seed", "extraction")}
    computing = computing_of(config)
    many = {"benchmarks": [protocol.given], "temperatures": [SAMPLED], "samples": protocol.coverage}
    few = {
        "benchmarks": [protocol.development], "temperatures": [0.0, SAMPLED], "samples": SAMPLES,
    }  # fmt: skip
    jobs = {}
    for name, model in models.items():
        log = folder.store / "logs" / f"{name}.txt"
        if protocol.development:
            jobs[f"{PROMPTS}/{name}"] = Job(
                "sweep", folder.path / PROMPTS / name, log,
                {"model": model, "how": few | common, "templates": protocol.prompts,
                 "computing": computing},
            )  # fmt: skip
        if protocol.coverage:
            jobs[f"{COVERAGE}/{name}"] = Job(
                "evaluate", folder.path / COVERAGE / name, log,
                {"model": model, "how": many | common, "template": config["template"],
                 "computing": computing},
            )  # fmt: skip
    return jobs


def verdict_on(
    path: Path, given: str, fresh: str, delta: float | None, rewards: tuple[str, ...]
) -> dict[str, Any]:
    """Judge a finished study: by its own protocol, or by end points named afterwards.

    Raises:
        PlaceboError: the folder holds no study; or it has a protocol, and other end points are
            named.
    """
    folder = StudyFolder.open(path)
    protocol = read_protocol(path)
    if protocol is not None:
        if given or fresh or delta is not None or rewards:
            raise PlaceboError(
                f"{path}: has a protocol, written before its runs; it cannot be judged by another"
            )
        return write_verdict(folder, protocol)
    check_delta(delta := 3.0 if delta is None else delta)
    chosen = given or _begun(folder)["contracts"][0]["benchmark"]
    if chosen == fresh:
        raise PlaceboError(f"--fresh {fresh}: is the benchmark itself")
    afterwards = Protocol(
        given=chosen,
        fresh=fresh,
        delta=delta,
        seeds=LEAST_SEEDS,
        runs=tuple(folder.names),
        before=False,
        **named([parse(r) for r in rewards] or _judged(folder)),
    )
    return write_verdict(folder, afterwards)


def _begun(folder: StudyFolder) -> dict[str, Any]:
    """The configuration of the first run that has begun."""
    for run in map(folder.run, folder.names):
        if (run.path / "config.json").exists():
            return run.config
    raise PlaceboError(f"{folder.path}: no run has begun yet")


def _judged(folder: StudyFolder) -> list[Spec]:
    """The rewards of a study but those that are controls and nothing else.

    Raises:
        PlaceboError: there is none.
    """
    specs: dict[str, Spec] = {}
    for entry in folder.document["runs"]:
        run = folder.run(entry["name"])
        if entry["reward"] not in specs and (run.path / "config.json").exists():
            specs[entry["reward"]] = run.config["reward"]
    found = [s for n, s in specs.items() if not n.startswith("shuffle(") and n != PERMUTED]
    if not found:
        raise PlaceboError(f"{folder.path}: no reward to judge; there are only controls")
    return found
