"""Run a study on this machine: worker processes of one thread each, one run at a time each."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rlvr_placebo.analysis.folder import MARKER, StudyFolder
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest, write_json
from rlvr_placebo.core.rundir import SCHEMA, RunDirectory, check_place, locked
from rlvr_placebo.rewards.spec import describe, user_code
from rlvr_placebo.study.matrix import Study
from rlvr_placebo.study.nursery import Nursery
from rlvr_placebo.study.pool import Job, Pool, give_up
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.trial import find_content, identity
from rlvr_placebo.verdict.protocol import FILE


@dataclass(frozen=True)
class Progress:
    """How far a study is: steps done of steps in all, and what runs now."""

    steps_done: int
    steps: int
    runs_done: int
    runs: int
    running: tuple[str, ...]


@dataclass(frozen=True)
class Launch:
    """How a study is carried out here.

    Attributes:
        out: the study's folder.
        workers: processes at once.
        store: folder that keeps the runs, if not the study's own; studies that share it share them.
        pause: seconds between two looks at the workers.
        seconds: after which no further run is begun; None: all are.
        go_on: leave runs that fail, name them in ``study.json``, and carry out the others, until
            every run of an arm has failed.
        known: runs that were made elsewhere, by name, with the hash of what they were made from.
    """

    out: Path
    workers: int = 2
    store: Path | None = None
    pause: float = 0.5
    seconds: float | None = None
    go_on: bool = False
    known: Mapping[str, str] = field(default_factory=dict)

    def since(self, started: float) -> Launch:
        """The same with the seconds that are left of what began at this ``time.monotonic()``."""
        if self.seconds is None:
            return self
        return replace(self, seconds=max(0.0, self.seconds - (time.monotonic() - started)))


def run_study(
    study: Study, launch: Launch, report: Callable[[Progress], None] = lambda progress: None
) -> list[RunDirectory]:
    """Carry out every run that is not finished yet.

    A run is found by its name, which holds the hash of its configuration: a run that is finished in
    the store, by whatever study, is not repeated. Evaluations and labels of untrained models are
    made once. Stopped at any time, the same call goes on.

    Args:
        study: the matrix.
        launch: where, and with how many workers.
        report: called about twice a second.

    Returns:
        The runs that are finished, in the order of the matrix: all, unless ``go_on`` or ``seconds``
        leave some.

    Raises:
        PlaceboError: the folder is in use for something else; a finished run in it was made with
            another model or other problems than the study names now; or a worker failed (its last
            line is passed on, the others' work is kept).
    """
    with claimed(launch.out):
        return run_claimed(study, launch, report)


def run_claimed(
    study: Study, launch: Launch, report: Callable[[Progress], None] = lambda progress: None
) -> list[RunDirectory]:
    """:func:`run_study` within :func:`claimed`."""
    document = _document(study, launch.out, _store(launch, study))
    folder = StudyFolder(launch.out, launch.out / document["store"], document)
    nursery = Nursery()
    try:
        if any(not folder.run(n).finished for n in study.runs if n not in launch.known):
            nursery.warm()  # while what the runs name is looked up
        runs = _Runs(study, folder, launch)
        pool = Pool(runs.jobs(), nursery, launch.workers, runs.failed, launch.seconds)
        write_json(launch.out / MARKER, document)
        while pool.advance():
            report(runs.progress(pool))
            time.sleep(launch.pause)
        report(runs.progress(pool))
    finally:
        nursery.stop()
    write_json(launch.out / MARKER, document | {"crashed": runs.crashed})
    return folder.finished_runs()


@contextlib.contextmanager
def claimed(out: Path, study: Study | None = None) -> Generator[None]:
    """Hold a folder for studies: new, empty, or one that holds a study already.

    Args:
        out: the folder; no other process may have it meanwhile.
        study: marks it as this study's at once, for work that comes before the runs.

    Raises:
        PlaceboError: it is a file, in use for something else, or holds another study.
    """
    with locked(out):
        own = (out / MARKER).exists() or (out / FILE).exists()  # a protocol comes before its study
        if any(out.iterdir()) and not own:
            raise PlaceboError(f"{out}: in use, and not by a study; choose another --out")
        if study:
            store = _store(Launch(out), study)
            if not (out / MARKER).exists():
                write_json(out / MARKER, _document(study, out, store))
        yield


def _store(launch: Launch, study: Study) -> Path:
    """The store of a study: the one it has, or the one that is asked for now.

    Raises:
        PlaceboError: the folder holds another study, or this one with another store, whose runs it
            would leave behind; or the store is no place for runs.
    """
    if not (launch.out / MARKER).exists():
        return _fit_for_runs(launch.store) if launch.store else launch.out
    folder = StudyFolder.open(launch.out)
    known, name = folder.store, folder.document["name"]
    if name != study.name:
        raise PlaceboError(
            f"{launch.out}: holds the study {name!r}, not {study.name!r}; choose another --out"
        )
    if launch.store and launch.store.resolve() != known.resolve():
        raise PlaceboError(
            f"{launch.out}: its runs are in {known}, not in {launch.store}; leave out --store, or "
            "choose another --out"
        )
    return known


def _fit_for_runs(store: Path) -> Path:
    """Refuse a store that is a file, a run, or somebody else's folder."""
    check_place(store)
    if store.exists() and any(store.iterdir()) and not (store / "runs").is_dir():
        raise PlaceboError(f"{store}: in use, and not by studies; choose another --store")
    return store


def _document(study: Study, out: Path, store: Path) -> dict[str, Any]:
    """What ``study.json`` says: the runs, and where their store is."""
    runs = [
        {
            "name": name,
            "model": config.model,
            "reward": describe(config.reward),
            "variant": config.variant,
            "seed": config.seed,
            "steps": config.steps,
        }
        for name, config in study.runs.items()
    ]
    head = {"schema": SCHEMA, "name": study.name, "description": study.description}
    return {**head, "store": os.path.relpath(store, out), "runs": runs}


class _Identities:
    """The identities of runs; what several runs share is looked up once."""

    def __init__(self) -> None:
        self.shared: dict[str, dict[str, Any]] = {}

    def of(self, config: RunConfig) -> dict[str, Any]:
        """What ``config.json`` of this run must hold now."""
        rollout = (config.rollout.problems, config.rollout.max_tokens, config.pool_size)
        parts = [config.model, config.pool, config.template, asdict(config.labels), rollout]
        code = list(user_code(config.reward))
        key = digest([*parts, asdict(config.evaluation), code])
        if key not in self.shared:
            self.shared[key] = find_content(config)
        return identity(config, self.shared[key])


def _in_turn(study: Study) -> list[str]:
    """Names of the runs, models in turn: what belongs to a model is then made side by side."""
    met: Counter[str] = Counter()
    places = {}
    for name, config in study.runs.items():
        places[name] = met[config.model]
        met[config.model] += 1
    return sorted(study.runs, key=places.__getitem__)


class _Runs:
    """The runs of a study as jobs, and those that failed."""

    def __init__(self, study: Study, folder: StudyFolder, launch: Launch) -> None:
        self.study, self.folder, self.go_on = study, folder, launch.go_on
        self.known = launch.known
        self.crashed: dict[str, str] = {}
        identities = _Identities()
        for name, config in study.runs.items():
            # whatever a run names must be there before any run starts
            wanted = identities.of(config)
            if self.known.get(name, digest(wanted)) != digest(wanted):
                raise PlaceboError(
                    f"{folder.path}: what is kept of run {name} was made with another model or "
                    "other problems"
                )
            run = folder.run(name)
            if run.finished:
                run.must_be(wanted)
                run.must_be_whole()

    def jobs(self) -> dict[str, Job]:
        """One for each run, in the order they are begun."""
        store = self.folder.store
        return {
            name: Job(
                "train",
                self.folder.run(name).path,
                store / "logs" / f"{name}.txt",
                {"config": self.study.runs[name].as_dict(), "shared": str(store / "shared")},
            )
            for name in _in_turn(self.study)
            if name not in self.known
        }

    def failed(self, name: str, reason: str) -> None:
        """Note a run that failed, or stop for it."""
        if not self.go_on:
            give_up(f"run {name}", reason)
        self.crashed[name] = reason
        own = self.study.runs[name]
        arm = [n for n, c in self.study.runs.items() if (c.model, c.reward, c.variant)
               == (own.model, own.reward, own.variant)]  # fmt: skip
        if all(n in self.crashed for n in arm):  # a mistake, and no finding
            raise PlaceboError(f"every run of {describe(own.reward)} failed; {name}: {reason}")

    def progress(self, pool: Pool) -> Progress:
        done = {
            name: config.steps if name in self.known else self.folder.steps_done(name)
            for name, config in self.study.runs.items()
        }
        return Progress(
            steps_done=sum(done.values()),
            steps=sum(c.steps for c in self.study.runs.values()),
            runs_done=pool.done + len(self.known),
            runs=len(self.study.runs),
            running=tuple(f"{name} ({done[name]})" for name in pool.nursery.running),
        )
