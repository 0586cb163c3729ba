"""Jobs on worker processes: so many at once, each in a directory of its own, until all are done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.study.nursery import Nursery
from rlvr_placebo.study.worker import BUSY
from rlvr_placebo.train.watch import Watch

PAUSE = 0.5  # seconds between two looks at the workers
TRIES = 2  # a worker that was killed is started once more; its job goes on where it was


@dataclass(frozen=True)
class Job:
    """Something that a worker does.

    Attributes:
        work: its name among :data:`rlvr_placebo.study.worker.WORK`.
        out: the directory it leaves; a job whose directory is finished is done.
        log: file for what the worker says.
        arguments: of the work, as JSON.
    """

    work: str
    out: Path
    log: Path
    arguments: Mapping[str, Any]

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return RunDirectory(self.out).finished


def give_up(name: str, reason: str) -> None:
    """Stop everything for one job that failed.

    Raises:
        PlaceboError: always.
    """
    raise PlaceboError(f"{name} failed: {reason}")


class Pool:
    """The jobs that wait for a worker, and those that have one."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        nursery: Nursery,
        workers: int,
        failed: Callable[[str, str], None] = give_up,
        seconds: float | None = None,
    ) -> None:
        """Set out to do what is left of some jobs.

        Args:
            jobs: by name, in the order they are begun.
            nursery: where they run; the caller stops it.
            workers: at once.
            failed: called with name and reason of a job that cannot be done.
            seconds: after which no further job is begun; None: all are.
        """
        self.jobs, self.nursery, self.workers, self.failed = jobs, nursery, workers, failed
        self.waiting = [name for name, job in jobs.items() if not job.done]
        self.tries: Counter[str] = Counter()
        self.until = None if seconds is None else time.monotonic() + seconds

    @property
    def done(self) -> int:
        """How many jobs are done."""
        return sum(job.done for job in self.jobs.values())

    def advance(self) -> bool:
        """Reap what ended, start what fits; False when nothing is left, or it is time."""
        for name, status in self.nursery.ended():
            self._ended(name, status)
        if self.until is not None and time.monotonic() > self.until:
            return bool(self.nursery.running)
        while self.waiting and len(self.nursery.running) < self.workers:
            self._start(self.waiting.pop(0))
        return bool(self.nursery.running)

    def _start(self, name: str) -> None:
        job = self.jobs[name]
        job.log.parent.mkdir(parents=True, exist_ok=True)
        self.tries[name] += 1
        arguments = {**job.arguments, "out": str(job.out)}
        self.nursery.start(name, job.work, arguments, job.log)

    def _ended(self, name: str, status: int) -> None:
        if status == 0 and self.jobs[name].done:
            return
        if status == BUSY:  # another study is at this very job: look again when others are done
            self.waiting.append(name)
            return
        if status < 0 and self.tries[name] < TRIES:  # killed by a signal
            self.waiting.insert(0, name)
            return
        if status < 0:
            reason = (
                f"its worker was killed by signal {-status} (out of memory?) {TRIES} times; the "
                "same command goes on"
            )
        else:
            log = self.jobs[name].log.read_text(encoding="utf-8", errors="replace")
            reason = [f"exit status {status}", *log.strip().splitlines()][-1]
        self.failed(name, reason)


def carry_out(
    jobs: Mapping[str, Job], workers: int, what: str, watch: Watch, seconds: float | None = None
) -> None:
    """Do what is left of some jobs; stopped at any time, the same call goes on.

    Args:
        jobs: by name, in the order they are begun.
        workers: at once.
        what: they are, for those who watch.
        watch: hears how many are done.
        seconds: after which no further job is begun; None: all are.

    Raises:
        PlaceboError: one failed; it is named, and what the others did is kept.
    """
    nursery = Nursery()
    pool = Pool(jobs, nursery, workers, seconds=seconds)
    try:
        while pool.advance():
            watch.progress(what, pool.done, len(jobs))
            time.sleep(PAUSE)
    finally:
        nursery.stop()
    watch.progress(what, pool.done, len(jobs))
