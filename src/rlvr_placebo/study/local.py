"""Run a study on this machine: worker processes of one thread each, one run at a time each."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.rundir import SCHEMA, RunDirectory, digest, locked, write_json
from rlvr_placebo.study.matrix import Study
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.trial import find_content, identity

MARKER = "study.json"
TRIES = 2  # a worker that was killed is started once more; its run goes on where it was


@dataclass(frozen=True)
class Progress:
    """How far a study is: steps done of steps in all, and what runs now."""

    steps_done: int
    steps: int
    runs_done: int
    runs: int
    running: tuple[str, ...]


def run_study(
    study: Study, out: Path, workers: int, report: Callable[[Progress], None], pause: float = 0.5
) -> list[RunDirectory]:
    """Carry out every run that is not finished yet.

    Each run goes to ``out/runs/<name>``; evaluations of untrained models are kept in
    ``out/baselines``. Stopped at any time, the same call goes on.

    Args:
        study: the matrix.
        out: the study's folder.
        workers: processes at once.
        report: called about twice a second.
        pause: seconds between two looks at the workers.

    Returns:
        The finished runs, in the order of the matrix.

    Raises:
        PlaceboError: the folder is in use for something else; a finished run in it was made with
            another model or other problems than the study names now; or a worker failed (its last
            line is passed on, the others' work is kept).
    """
    with _claimed(out):
        pool = _Pool(study, out, workers)
        try:
            while pool.advance():
                report(pool.progress())
                time.sleep(pause)
            report(pool.progress())
        finally:
            pool.stop()
    return [RunDirectory(out / "runs" / name) for name in study.runs]


@contextlib.contextmanager
def _claimed(out: Path) -> Generator[None]:
    """Take a folder for studies: new, empty, or one that holds studies already."""
    with locked(out):
        if any(out.iterdir()) and not (out / MARKER).exists():
            raise PlaceboError(f"{out}: in use, and not by a study; choose another --out")
        write_json(out / MARKER, {"schema": SCHEMA})
        yield


class _Identities:
    """The identities of runs; what several runs share is looked up once."""

    def __init__(self) -> None:
        self.shared: dict[str, dict[str, Any]] = {}

    def of(self, config: RunConfig) -> dict[str, Any]:
        """What ``config.json`` of this run must hold now."""
        key = digest([config.model, config.pool, config.template, asdict(config.evaluation)])
        if key not in self.shared:
            self.shared[key] = find_content(config)
        return identity(config, self.shared[key])


class _Pool:
    """Worker processes and the runs that wait for one."""

    def __init__(self, study: Study, out: Path, workers: int) -> None:
        self.study, self.out, self.workers = study, out, workers
        identities = _Identities()
        for name, config in study.runs.items():
            # whatever a run names must be there before any run starts
            wanted = identities.of(config)
            if self._run(name).finished:
                self._run(name).must_be(wanted)
                self._run(name).must_be_whole()
        self.waiting = [name for name in study.runs if not self._run(name).finished]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.tries: dict[str, int] = {}

    def _run(self, name: str) -> RunDirectory:
        return RunDirectory(self.out / "runs" / name)

    def advance(self) -> bool:
        """Reap what ended, start what fits; False when nothing is left."""
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[name]
                self._ended(name, process.returncode)
        while self.waiting and len(self.running) < self.workers:
            self._start(self.waiting.pop(0))
        return bool(self.running)

    def _start(self, name: str) -> None:
        document = self.out / "configs" / f"{name}.json"
        write_json(document, self.study.runs[name].as_dict())
        log = self.out / "logs" / f"{name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "rlvr_placebo.study.worker", str(os.getpid())]
        command += [str(document), str(self._run(name).path), str(self.out / "baselines")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.tries[name] = self.tries.get(name, 0) + 1
        with log.open("ab") as stream:
            self.running[name] = subprocess.Popen(
                command, stderr=stream, stdout=stream, env=environment
            )

    def _ended(self, name: str, status: int) -> None:
        if status == 0 and self._run(name).finished:
            return
        if status < 0 and self.tries[name] < TRIES:  # killed by a signal
            self.waiting.insert(0, name)
            return
        log = self.out / "logs" / f"{name}.txt"
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {status}"
        raise PlaceboError(f"run {name} failed: {reason}")

    def progress(self) -> Progress:
        done = {name: self._steps_done(name) for name in self.study.runs}
        return Progress(
            steps_done=sum(done.values()),
            steps=sum(c.steps for c in self.study.runs.values()),
            runs_done=sum(self._run(name).finished for name in self.study.runs),
            runs=len(self.study.runs),
            running=tuple(f"{name} ({done[name]})" for name in self.running),
        )

    def _steps_done(self, name: str) -> int:
        return sum(1 for _ in (self._run(name).path / "rollouts").glob("step-*.parquet"))

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait()
