"""Tables and sentences: what a command found, for a person or (as JSON) for a program."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlvr_placebo.analysis.folder import MARKER, StudyFolder
from rlvr_placebo.cli.console import duration, for_tables, percent, plain_table
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import RunDirectory


def print_gains(runs: Sequence[RunDirectory], out: Path) -> None:
    """Print the table of gains; for a study also write it as ``summary.json``."""
    from rlvr_placebo.analysis.arms import ERROR_IN_WORDS, TEST_IN_WORDS, gains

    entries = gains(runs)
    console = for_tables()
    for model, benchmark in dict.fromkeys((e["model"], e["benchmark"]) for e in entries):
        chosen = [e for e in entries if (e["model"], e["benchmark"]) == (model, benchmark)]
        console.print(_gain_table(f"{model} on {benchmark}: accuracy, per cent", chosen))
    console.print(ERROR_IN_WORDS, markup=False, highlight=False)
    if any(e["trains_on_test"] for e in entries):
        console.print(TEST_IN_WORDS)
    unknown = sum(e["unknown"] for e in entries)
    if unknown:
        console.print(f"{unknown} answers could not be judged; gain_bounds shows what they may do.")
    if any(len(e["seeds"]) == 1 for e in entries):
        console.print("One seed only: the error lacks the variance between seeds.")
    if (out / MARKER).exists():
        write_json(out / "summary.json", {"arms": entries, "error": ERROR_IN_WORDS})
        console.print(f"written: {out / 'summary.json'}", highlight=False, soft_wrap=True)
    else:
        final = runs[0].read_json("result.json")["final_checkpoint"]
        console.print(f"checkpoint: {out / final}", highlight=False, soft_wrap=True)


def _gain_table(title: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    """The arms of one model on one benchmark; ``code`` is its share before and after training."""
    table = plain_table(title)
    table.add_column("reward", overflow="fold", max_width=28)
    for name in ("T", "base", "final", "gain", "±", "code", "after", "n", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in entries:
        name = e["reward"] if e["variant"] == "plain" else f"{e['reward']} [{e['variant']}]"
        table.add_row(
            Text(f"{name} †" if e["trains_on_test"] else name),
            f"{e['temperature']:g}",
            *(_number(e[key], ".1f") for key in ("base", "final")),
            _number(e["gain"], "+.1f"),
            _number(e["stderr"], ".1f"),
            *(f"{100 * e[f'code_frequency_{when}']:.0f}" for when in ("before", "after")),
            str(e["n"]),
            str(len(e["seeds"])),
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


SUMMARY: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "accuracy": lambda e: e["accuracy"],
    "in code": lambda e: e["behaviours"]["code"]["accuracy_with"],
    "in words": lambda e: e["behaviours"]["code"]["accuracy_without"],
    "code": lambda e: e["behaviours"]["code"]["frequency"],
    "boxed": lambda e: e["behaviours"]["boxed"]["frequency"],
    "cut off": lambda e: e["truncated"],
}


def print_summary(model: str, summary: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Print what one evaluation found."""
    console = for_tables()
    table = plain_table(f"{model}, per cent")
    table.add_column("benchmark", overflow="fold", max_width=12)
    table.add_column("T", no_wrap=True)
    for name in (*SUMMARY, "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in summary:
        cells = [percent(pick(e)) for pick in SUMMARY.values()]
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


def print_probe(found: Mapping[str, Any], out: Path, as_json: bool) -> None:
    """Print what a probe of contamination found: the set in question beside a clean one."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    one, clean = found["benchmark"], found["clean"]
    table = plain_table(f"{found['model']}: how it goes on when it is shown part of a problem")
    table.add_column("shown", justify="right", no_wrap=True)
    table.add_column("measure", overflow="fold", max_width=14)
    for name in (one, f"{clean} (clean)", "difference"):
        table.add_column(name, justify="right", overflow="fold", max_width=19)
    columns = (found["benchmarks"][one], found["benchmarks"][clean], found["differences"])
    for asked, beside, more in zip(*columns, strict=True):
        values = (_within(asked["measure"], entry) for entry in (asked, beside, more))
        table.add_row(f"{asked['share']:.0%}", asked["measure"], *values)
    console = for_tables()
    console.print(table)
    console.print("[ ]: 95 % intervals over problems, by cluster; shares and ROUGE-L in per cent.")
    for name, count in found["too_short"].items():
        if count:
            console.print(f"{name}: {count} problems of one or two words were left out")
    console.print(f"written: {out}", highlight=False, soft_wrap=True)


def _within(measure: str, entry: Mapping[str, Any]) -> str:
    """A value with its interval; nats as they are, shares per hundred."""
    if entry["value"] is None:
        return "–"
    scale, form = (1.0, ".2f") if "nats" in measure else (100.0, ".1f")
    value = format(scale * entry["value"], form)
    if entry["interval"] is None:
        return value
    low, high = (format(scale * end, form) for end in entry["interval"])
    return f"{value} [{low}, {high}]"


def print_prompts(found: Mapping[str, Any], out: Path) -> None:
    """Print every template and temperature on the half to choose by and on the other."""
    table = plain_table(f"{found['model']} on {found['benchmark']}: accuracy, per cent")
    table.add_column("template", overflow="fold", max_width=24)
    for name in ("T", "to choose by", "to score"):
        table.add_column(name, justify="right", no_wrap=True)
    for cell in found["cells"]:
        halves = (percent(cell[half]) for half in ("choice", "score"))
        mark = " *" if cell == found["chosen"] else ""
        table.add_row(Text(cell["template"] + mark), f"{cell['temperature']:g}", *halves)
    console = for_tables()
    console.print(table)
    console.print("* best on the half to choose by; its accuracy is that on the other half.")
    for name, reason in found["left_out"].items():
        console.print(f"left out: {name}: {reason}", highlight=False, soft_wrap=True)
    console.print(f"written: {out}", highlight=False, soft_wrap=True)


def print_bench(entries: Sequence[Mapping[str, Any]]) -> None:
    """Print medians of both sides, the ratio, and how near the floor is."""
    table = plain_table("seconds, medians")
    table.add_column("what", overflow="fold", max_width=28)
    for name in ("ours", "peer", "ratio", "of the floor", "spread", "MB", "peer MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in entries:
        spread = f"{e['spread'][0]:.3f}–{e['spread'][1]:.3f}"
        peer = f" ({e['peer']})" if e["peer"] not in (None, "TRL") else ""
        near = "–" if e["floor_fraction"] is None else f"{e['floor_fraction']:.0%}"
        table.add_row(
            e["name"] + peer, f"{e['seconds']:.3f}", _number(e["peer_seconds"], ".3f"),
            _number(e["ratio"], ".2f"), near, spread,
            _number(e["peak_mb"], ".0f"), _number(e["peer_peak_mb"], ".0f"),
        )  # fmt: skip
    console = for_tables()
    console.print(table)
    console.print("The floor: the matrix products of the least work, timed alone in this run.")


def print_check(results: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print every figure of the families beside its target."""
    if as_json:
        print(json.dumps(results, indent=2))
        return
    console = for_tables()
    for result in results:
        table = plain_table(f"{result['model']} on {result['problems']}")
        for name in ("figure", "target", "measured", "±", "n", ""):
            table.add_column(name, justify="left" if name == "figure" else "right")
        for f in result["figures"]:
            table.add_row(
                f["name"], f["wanted"], _number(f["measured"], ".1f"), _number(f["stderr"], ".1f"),
                str(f["n"]), "ok" if f["ok"] else "MISSED",
            )  # fmt: skip
        console.print(table)
    console.print("Per cent or points; ± is one standard error, clustered by template.")
    missed = sum(not f["ok"] for result in results for f in result["figures"])
    total = sum(len(result["figures"]) for result in results)
    console.print(f"{total - missed} of {total} figures as calibrated", highlight=False)


def print_status(folder: StudyFolder, as_json: bool) -> None:
    """Print how far every run of a study is."""
    runs = folder.status()
    if as_json:
        print(json.dumps([dataclasses.asdict(run) for run in runs], indent=2))
        return
    console = for_tables(100)
    table = plain_table(f"{folder.document['name']}, {folder.path}")
    for name in ("run", "state", "steps", "s/step"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right")
    for run in runs:
        table.add_row(Text(run.name), run.state, f"{run.done}/{run.steps}",
                      _number(run.seconds, ".2f"))  # fmt: skip
    console.print(table)
    finished = sum(run.state == "finished" for run in runs)
    running = [run for run in runs if run.state == "running"]
    left = [run for run in runs if run.state != "finished"]
    speeds = [run.seconds for run in runs if run.seconds]
    line = f"{finished} of {len(runs)} runs finished, {len(running)} running"
    if left and running and speeds:
        steps = sum(run.steps - run.done for run in left)
        seconds = steps * sum(speeds) / len(speeds) / len(running)
        line += f", about {duration(seconds)} left (evaluations not counted)"
    elif left:
        line += "; `placebo study run` with the same --out goes on"
    console.print(line, highlight=False)


def print_plan(lines: Sequence[Any], workers: int, as_json: bool) -> None:
    """Print what is left of a study, and how long it will take."""
    if as_json:
        print(json.dumps([dataclasses.asdict(line) for line in lines], indent=2))
        return
    console = for_tables(100)
    table = plain_table("what is left")
    for name in ("model", "variant", "runs", "done", "steps", "completions", "s/step", "time"):
        table.add_column(name, justify="left" if name in ("model", "variant") else "right")
    for line in lines:
        table.add_row(
            Text(line.model), Text(line.variant), str(line.runs), str(line.done), f"{line.steps:,}",
            f"{line.completions:,}", _number(line.cost and line.cost.step, ".2f"),
            "?" if line.seconds is None else duration(line.seconds),
        )  # fmt: skip
    console.print(table)
    _print_gpu(lines, console)
    runs = sum(line.runs - line.done for line in lines)
    total = [line.seconds for line in lines]
    known = [seconds for seconds in total if seconds is not None]
    time_left = f"about {duration(sum(known) / workers)} with {workers} workers"
    if len(known) < len(total):
        time_left = "time unknown: no cost was measured for some models"
    console.print(f"{runs} runs to do; {time_left}", highlight=False)


def _print_gpu(lines: Sequence[Any], console: Console) -> None:
    """What runs of published models would take on accelerators; nothing where there are none."""
    known = [line for line in lines if line.gpu]
    if not known:
        return
    table = plain_table("on GPUs of 80 GB, reckoned from shapes")
    for name in ("model", "variant", "tokens", "GPU hours", "GB", "GPUs at least"):
        table.add_column(name, justify="left" if name in ("model", "variant") else "right")
    for line in known:
        own = line.gpu
        table.add_row(
            Text(line.model), Text(line.variant), f"{own.tokens / 1e9:.2f} G",
            f"{own.hours:,.0f}", f"{own.memory / 1e9:.0f}", str(own.devices),
        )  # fmt: skip
    hours = sum(line.gpu.hours for line in known)
    console.print(table)
    console.print(
        f"{hours:,.0f} GPU hours, if completions have 800 tokens; see rlvr_placebo/study/gpu.py "
        "for what is assumed", highlight=False, soft_wrap=True,
    )  # fmt: skip


def print_labels(table: Any, out: Path) -> None:  # noqa: ANN401 (an Arrow table, not imported)
    """Print what labels are worth."""
    for line in _labels_in_words(table):
        print(line)
    print(f"written: {out}")


def _labels_in_words(table: Any) -> list[str]:  # noqa: ANN401
    from rlvr_placebo.analysis.labels import describe_labels

    found = describe_labels(table)
    problems = found["problems"]
    return [
        f"{problems} problems, {found['samples']} samples: {found['empty']:.1%} without an answer, "
        f"{found['unparsable']:.1%} that cannot be compared; {found['ties']} ties",
        f"the majority is right on {percent(found['majority_right'])} % of problems "
        f"(n = {found['majority_right']['n']})",
        f"{found['no_answer'] + found['no_wrong_answer']} problems leave the pool: "
        f"{found['no_answer']} without any answer, {found['no_wrong_answer']} without a wrong one",
    ]


def print_labels_check(table: Any, found: Mapping[str, Any], as_json: bool) -> None:  # noqa: ANN401
    """Print how many incorrect labels each checker calls wrong."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for line in _labels_in_words(table):
        print(line)
    for checker, share in found["wrong"].items():
        print(f"{checker} calls {share:.2%} of {found['labels']} incorrect labels wrong")
    for doubt in found["doubted"]:
        print(f"  doubted: label {doubt['label']!r}, gold {', '.join(map(repr, doubt['golds']))}")
    print(
        "the incorrect labels are wrong" if found["ok"] else "NOT ENOUGH are surely wrong (99.5 %)"
    )


def print_settings() -> None:
    """Print every setting: key, value under each recipe, meaning."""
    from rlvr_placebo.train.config import RECIPES, RunConfig
    from rlvr_placebo.train.settings import keys, make_config

    configs = {r: make_config("-", "ground_truth", r) for r in RECIPES}
    meanings = dict(_meanings(RunConfig, ""))
    table = Table()
    for name in ("setting", *configs, "meaning"):
        table.add_column(name, no_wrap=name != "meaning")
    for key in keys():
        values = [_show(attrgetter(key)(config)) for config in configs.values()]
        table.add_row(key, *values, meanings[key])
    for_tables(120).print(table, markup=False)


def _show(value: object) -> str:
    if isinstance(value, list | tuple):
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
