"""What a person sees: progress with an ETA (a bar on a terminal, lines elsewhere) and tables."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import re
import sys
import time
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rlvr_placebo.core.rundir import RunDirectory, write_json

EVERY = 10.0  # seconds between two lines where there is no terminal


class _Console(Console):
    """A console whose reader may leave: what is then still to be said is dropped."""

    def on_broken_pipe(self) -> None:
        """Send the rest to nowhere, and go on."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class _Bars:
    """One bar per activity on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self.console = _Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
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
            eta = f", about {_duration(left)} left" if done > first else ""
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

    def pretraining(self, step: int, steps: int, loss: float) -> None:
        """Move the bar of a pre-training."""
        self.show("pre-training", step, steps, f"loss {loss:.3f}")


class StudyDisplay(_Bars):
    """Draws a study over its worker processes."""

    def __init__(self, out: Path) -> None:
        """Set out to draw the study in ``out``; warnings of its runs are read from there."""
        super().__init__()
        self.out = out
        self.heard: set[str] = set()
        self.read: dict[Path, int] = {}

    def report(self, progress: Any) -> None:  # noqa: ANN401 (study.local.Progress, not imported)
        """Move the bar; pass on every warning once."""
        note = f"{progress.runs_done} of {progress.runs} runs done"
        self.show("steps", progress.steps_done, progress.steps, note)
        for path in sorted((self.out / "runs").glob("*/metrics.jsonl")):
            size = path.stat().st_size
            if self.read.get(path) == size:
                continue
            self.read[path] = size
            for record in RunDirectory(path.parent).metrics("step"):
                for line in record["warnings"]:
                    told = f"{path.parent.name}, step {record['step']}: {line}"
                    if told not in self.heard:
                        self.heard.add(told)
                        self.say(f"warning: {told}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def percent(estimate: Mapping[str, Any]) -> str:
    """A share with its error in points, e.g. ``46.4±2.9``; ``–`` where nothing was observed."""
    if estimate["value"] is None:
        return "–"
    error = estimate["stderr"]
    return f"{100 * estimate['value']:.1f}±" + ("?" if error is None else f"{100 * error:.1f}")


def print_gains(runs: Sequence[RunDirectory], out: Path) -> None:
    """Print the table of gains; for a study also write it as ``summary.json``."""
    from rlvr_placebo.analysis.arms import ERROR_IN_WORDS, gains

    entries = gains(runs)
    console = _Console(width=None if sys.stdout.isatty() else 80)
    for model, benchmark in dict.fromkeys((e["model"], e["benchmark"]) for e in entries):
        chosen = [e for e in entries if (e["model"], e["benchmark"]) == (model, benchmark)]
        console.print(_gain_table(f"{model} on {benchmark}: accuracy, per cent", chosen))
    console.print(ERROR_IN_WORDS, markup=False, highlight=False)
    unknown = sum(e["unknown"] for e in entries)
    if unknown:
        console.print(f"{unknown} answers could not be judged; gain_bounds shows what they may do.")
    if any(len(e["seeds"]) == 1 for e in entries):
        console.print("One seed only: the error lacks the variance between seeds.")
    if (out / "runs").is_dir():
        write_json(out / "summary.json", {"arms": entries, "error": ERROR_IN_WORDS})
        console.print(f"written: {out / 'summary.json'}", highlight=False, soft_wrap=True)
    else:
        final = runs[0].read_json("result.json")["final_checkpoint"]
        console.print(f"checkpoint: {out / final}", highlight=False, soft_wrap=True)


def _gain_table(title: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    """The arms of one model on one benchmark; ``code`` is its share before and after training."""
    table = _table(title)
    table.add_column("reward", overflow="fold", max_width=28)
    for name in ("T", "base", "final", "gain", "±", "code", "after", "n", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in entries:
        table.add_row(
            Text(e["reward"] if e["variant"] == "plain" else f"{e['reward']} [{e['variant']}]"),
            f"{e['temperature']:g}",
            *(_number(e[key], ".1f") for key in ("base", "final")),
            _number(e["gain"], "+.1f"),
            _number(e["stderr"], ".1f"),
            *(f"{100 * e[f'code_frequency_{when}']:.0f}" for when in ("before", "after")),
            str(e["n"]),
            str(len(e["seeds"])),
        )
    return table


def _table(title: str) -> Table:
    """A plain table that fits 80 columns."""
    return Table(
        title=Text(title),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


SUMMARY = {
    "accuracy": "accuracy",
    "accuracy_code": "in code",
    "accuracy_words": "in words",
    "code_frequency": "code",
    "boxed": "boxed",
    "truncated": "cut off",
}


def print_summary(model: str, summary: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Print what one evaluation found."""
    console = _Console(width=None if sys.stdout.isatty() else 80)
    table = _table(f"{model}, per cent")
    table.add_column("benchmark", overflow="fold", max_width=12)
    table.add_column("T", no_wrap=True)
    for name in (*SUMMARY.values(), "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in summary:
        cells = [percent(e[name]) for name in SUMMARY]
        table.add_row(
            Text(e["benchmark"]), f"{e['temperature']:g}", *cells, str(e["accuracy"]["n"])
        )
    console.print(table)
    console.print("± is one standard error over problems and decoding, clustered by template.")
    for e in summary:
        if e["unknown"]:
            low, high = (f"{100 * b:.1f}" for b in e["accuracy_bounds"])
            console.print(
                f"{e['unknown']} answers at T = {e['temperature']:g} could not be judged: "
                f"accuracy lies between {low} and {high}"
            )
    console.print(f"written: {out}", highlight=False, soft_wrap=True)


def print_settings() -> None:
    """Print every setting: key, value under each recipe, meaning."""
    from rlvr_placebo.train.config import RECIPES, RunConfig, keys, make_config

    configs = {r: make_config("-", "ground_truth", r).as_dict() for r in RECIPES}
    meanings = dict(_meanings(RunConfig, ""))
    table = Table()
    for name in ("setting", *configs, "meaning"):
        table.add_column(name, no_wrap=name != "meaning")
    for key in keys():
        values = [_show(_lookup(c, key.split("."))) for c in configs.values()]
        table.add_row(key, *values, meanings[key])
    _Console(width=None if sys.stdout.isatty() else 120).print(table, markup=False)


def _lookup(document: Any, path: list[str]) -> Any:  # noqa: ANN401
    return _lookup(document[path[0]], path[1:]) if path else document


def _show(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_show, value))
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _meanings(record: Any, prefix: str) -> typing.Iterator[tuple[str, str]]:  # noqa: ANN401
    """The sentence below each field, by dotted key."""
    source = inspect.getsource(record)
    hints = typing.get_type_hints(record)
    for f in dataclasses.fields(record):
        if dataclasses.is_dataclass(hints[f.name]):
            yield from _meanings(hints[f.name], f"{prefix}{f.name}.")
            continue
        found = re.search(rf'\n    {f.name}:[^\n]*\n    """(.*?)"""', source, re.DOTALL)
        yield f"{prefix}{f.name}", found[1].replace("``", "") if found else ""
