"""Progress with an ETA: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rlvr_placebo.cli.console import ForgivingConsole, duration, percent
from rlvr_placebo.core.rundir import RunDirectory

EVERY = 10.0  # seconds between two lines where there is no terminal


class _Bars:
    """One bar per activity on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self.console = ForgivingConsole(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.bars = Progress(*columns, console=self.console, transient=True)
        self.tasks: dict[str, Any] = {}
        self.started: dict[str, tuple[float, int]] = {}
        self.spoken = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.bars.stop()

    def say(self, line: str) -> None:
        """Print one line above the bars; a reader that has gone must not stop the work."""
        with contextlib.suppress(OSError, ValueError):
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, what: str, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` are done."""
        if self.console.is_terminal:
            if what not in self.tasks:
                self.tasks[what] = self.bars.add_task(what, total=total, note=note)
            self.bars.update(self.tasks[what], completed=done, note=note)
            if done >= total:
                self.bars.remove_task(self.tasks.pop(what))
            return
        now = time.monotonic()
        start, first = self.started.setdefault(what, (now, done))
        if now - self.spoken >= EVERY:
            self.spoken = now
            left = (now - start) / max(1, done - first) * (total - done)
            eta = f", about {duration(left)} left" if done > first else ""
            self.say(f"{what} {done}/{total}{eta}{'  ' + note if note else ''}")


class Display(_Bars):
    """Draws one run, evaluation or pre-training."""

    def __init__(self, steps: int) -> None:
        """Set out to draw a run of so many steps."""
        super().__init__()
        self.steps = steps
        self.note = ""

    def progress(self, what: str, done: int, total: int) -> None:
        """Move a bar."""
        self.show(what, done, total, self.note if what == "step" else "")

    def metrics(self, record: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        """Remember what to write beside the bar."""
        reward, accuracy = record["reward"], record["accuracy"]
        parts = [f"reward {reward:.2f}"] if reward is not None else []
        parts += [f"accuracy {accuracy:.2f}"] if accuracy is not None else []
        self.note = " ".join([*parts, f"{sum(seconds.values()):.1f} s/step"])

    def evaluated(self, step: int, summary: Sequence[Mapping[str, Any]]) -> None:
        """Say what an evaluation found."""
        found = ", ".join(
            f"{e['benchmark']} T={e['temperature']:g}: {percent(e['accuracy'])}" for e in summary
        )
        self.say(f"after step {step}: {found}")

    def warn(self, line: str) -> None:
        """Say a warning at once."""
        self.say(f"warning: {line}")

    def pretraining(self, what: str, step: int, steps: int, loss: float) -> None:
        """Move the bar of a pre-training."""
        self.show(f"pre-training, {what}", step, steps, f"loss {loss:.3f}")


class StudyDisplay(_Bars):
    """Draws a study over its worker processes."""

    def __init__(self, store: Path, names: set[str]) -> None:
        """Set out to draw some runs in a store; their warnings are read from there."""
        super().__init__()
        self.store, self.names = store, names
        self.heard: set[str] = set()
        self.read: dict[Path, int] = {}

    def report(self, progress: Any) -> None:  # noqa: ANN401 (study.local.Progress, not imported)
        """Move the bar; pass on every warning once."""
        note = f"{progress.runs_done} of {progress.runs} runs done"
        self.show("steps", progress.steps_done, progress.steps, note)
        for path in sorted((self.store / "runs").glob("*/metrics.jsonl")):
            size = path.stat().st_size
            if path.parent.name not in self.names or self.read.get(path) == size:
                continue
            self.read[path] = size
            for record in RunDirectory(path.parent).metrics("step"):
                for line in record["warnings"]:
                    told = f"{path.parent.name}, step {record['step']}: {line}"
                    if told not in self.heard:
                        self.heard.add(told)
                        self.say(f"warning: {told}")
