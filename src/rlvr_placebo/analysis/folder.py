"""A study's folder: ``study.json`` names its runs, which lie in a store that studies may share.

::

    DIR/study.json     the runs of the study, and where their store is
    DIR/summary.json, DIR/report.html
    STORE/runs/<name>  one run directory each; STORE is DIR unless another one is chosen
    STORE/shared       evaluations and labels of untrained models
    STORE/logs         what the workers said
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from rlvr_placebo.core.errors import BusyError, PlaceboError
from rlvr_placebo.core.files import read_jsonl
from rlvr_placebo.core.rundir import SCHEMA, RunDirectory, locked

MARKER = "study.json"


@dataclass(frozen=True)
class RunStatus:
    """How far one run is.

    Attributes:
        name: of its directory.
        state: ``finished``, ``running``, ``stopped`` (it goes on when the study is run again) or
            ``waiting``.
        done: steps done.
        steps: steps in all.
        seconds: mean seconds of a step so far; None before the first.
    """

    name: str
    state: str
    done: int
    steps: int
    seconds: float | None


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder, as ``study.json`` describes it."""

    path: Path
    store: Path
    document: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> StudyFolder:
        """Open a study's folder.

        Raises:
            PlaceboError: it is none.
        """
        if not (path / MARKER).exists():
            raise PlaceboError(f"{path}: not a study's folder (it has no {MARKER})")
        document = RunDirectory(path).read_json(MARKER)
        if document.get("schema") != SCHEMA or not _is_whole(document):
            raise PlaceboError(f"{path / MARKER}: damaged, or of another version")
        return cls(path, path / document["store"], document)

    @property
    def names(self) -> list[str]:
        """The runs of the study, in the order of its matrix."""
        return [run["name"] for run in self.document["runs"]]

    def run(self, name: str) -> RunDirectory:
        """The directory of a run."""
        return RunDirectory(self.store / "runs" / name)

    def finished_runs(self) -> list[RunDirectory]:
        """The runs that are finished."""
        return [self.run(name) for name in self.names if self.run(name).finished]

    def steps_done(self, name: str) -> int:
        """How many steps of a run are on disk."""
        return sum(1 for _ in (self.run(name).path / "rollouts").glob("step-*.parquet"))

    def status(self) -> list[RunStatus]:
        """How far every run is."""
        return [self._status(run["name"], run["steps"]) for run in self.document["runs"]]

    def _status(self, name: str, steps: int) -> RunStatus:
        run = self.run(name)
        if run.finished:
            state = "finished"
        elif not run.path.exists():
            state = "waiting"
        else:
            state = "running" if _held(run.path) else "stopped"
        done = self.steps_done(name)
        laps = laps_of(run)
        seconds = sum(lap.total for lap in laps) / len(laps) if laps else None
        return RunStatus(name, state, done, steps, seconds)


_KINDS = {"name": str, "model": str, "reward": str, "variant": str, "seed": int, "steps": int}


def _is_whole(document: dict[str, Any]) -> bool:
    """Whether a ``study.json`` has all its entries, and names nothing outside its store."""
    runs = document.get("runs")
    texts = ("name", "description", "store")
    if not isinstance(runs, list) or not all(isinstance(document.get(k), str) for k in texts):
        return False
    return all(
        isinstance(run, dict)
        and all(isinstance(run.get(key), kind) for key, kind in _KINDS.items())
        and Path(run["name"]).name == run["name"]
        for run in runs
    )


class Lap(NamedTuple):
    """Seconds of one step: of its generation, and of all of it."""

    generation: float
    total: float


PARTS = ("generation", "scoring", "update", "writing")


def laps_of(run: RunDirectory) -> list[Lap]:
    """What the steps of a run took, in order.

    Timings are outside the checksums: what cannot be read in them is left out.
    """
    return [
        Lap(record[PARTS[0]], sum(record[part] for part in PARTS))
        for record in _timings(run)
        if all(_is_number(record.get(part)) for part in PARTS)
    ]


def evaluation_seconds(run: RunDirectory) -> list[float]:
    """What the evaluations of a run took, in order."""
    found = [record.get("evaluation") for record in _timings(run)]
    return [seconds for seconds in found if _is_number(seconds)]


def _timings(run: RunDirectory) -> list[dict[str, Any]]:
    try:
        return read_jsonl(run.path / "timings.jsonl")
    except PlaceboError:
        return []


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _held(path: Path) -> bool:
    """Whether a process is writing a run directory."""
    try:
        with locked(path):
            return False
    except BusyError:
        return True
