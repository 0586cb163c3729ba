"""Commands about verdicts: judge a reward, give the verdict on a finished study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from rlvr_placebo.cli.console import for_tables
from rlvr_placebo.cli.runs import Settings
from rlvr_placebo.core.errors import PlaceboError

WIDTH = 30  # characters of a whole bar


@dataclass(frozen=True)
class Judge:
    """What does a reward teach? Train it beside its controls and give the verdict."""

    model: tuple[str, ...]
    """One or more: an embedded family (pocket/code-prior), a checkpoint's folder, a hub id."""
    reward: tuple[str, ...]
    """One or more, as in `placebo train`; your own is file.py:function."""
    out: Path
    """Where everything goes; the same command goes on with what is there."""
    benchmark: str = ""
    """Where the gain is claimed (B); the recipe's by default."""
    fresh: str | None = None
    """Problems the model cannot know (B′); "" for none: then nothing can be called genuine."""
    development: str | None = None
    """Problems to choose prompts on (control C0)."""
    prompts: tuple[str, ...] = ()
    """Templates to try; the recipe's by default."""
    seeds: int = 10
    """Of every arm; 5 at least."""
    delta: float = 3.0
    """Points per hundred that matter."""
    coverage: int = 64
    """Samples per problem for pass@k; 0: do not look."""
    recipe: str = "pocket"
    """Which settings to start from: pocket, or paper (arXiv 2506.10947)."""
    settings: Settings = ()
    """Change a setting of every arm, e.g. --set steps=20; repeatable."""
    workers: int = 2
    """Runs at once, each on one thread."""
    plan: bool = False
    """Only say what would be run."""
    json: bool = False
    """Print the verdict as JSON."""

    def run(self) -> None:
        """Run what is left and print the verdict."""
        from rlvr_placebo.study.judge import conclude, train_arms
        from rlvr_placebo.study.request import Request, plan
        from rlvr_placebo.train.settings import parse_settings

        if self.workers < 1:
            raise PlaceboError("--workers: at least 1")
        request = Request(
            self.model, self.reward, self.benchmark, self.fresh, self.development, self.prompts,
            self.seeds, self.delta, self.coverage, self.recipe,
            tuple(parse_settings(self.settings).items()),
        )  # fmt: skip
        study, protocol = plan(request)
        if self.plan:
            print_protocol(protocol.as_dict(), protocol.hash)
            return
        from rlvr_placebo.cli.progress import Display, StudyDisplay
        from rlvr_placebo.model.process import settle

        settle()
        with StudyDisplay(self.out, set(study.runs)) as runs:
            train_arms(study, protocol, self.out, self.workers, runs.report)
        with Display(0) as display:
            document = conclude(protocol, self.out, self.workers, display)
        print_verdict(document, self.json)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a finished study."""

    folder: Positional[Path]
    """The study's folder."""
    benchmark: str = ""
    """Where the gain is claimed, if the study has no protocol; its first by default."""
    fresh: str = ""
    """Problems the model cannot know, likewise; without, nothing can be called genuine."""
    delta: float | None = None
    """Points per hundred that matter, likewise; 3 by default."""
    reward: tuple[str, ...] = ()
    """Which rewards to judge, likewise; by default all that are no controls only."""
    json: bool = False
    """Print the verdict as JSON."""

    def run(self) -> None:
        """Judge and print."""
        from rlvr_placebo.study.judge import verdict_on

        document = verdict_on(self.folder, self.benchmark, self.fresh, self.delta, self.reward)
        print_verdict(document, self.json)


def print_protocol(protocol: Mapping[str, Any], hash: str) -> None:
    """Say what would be compared."""
    console = for_tables()
    console.print(f"protocol {hash[:12]}: {len(protocol['runs'])} runs", highlight=False)
    for key in ("models", "rewards", "seeds", "given", "fresh", "development", "prompts", "delta",
                "coverage", "metric"):  # fmt: skip
        value = protocol[key]
        shown = ", ".join(value) if isinstance(value, list) else value
        console.print(f"  {key:12} {shown}", markup=False, highlight=False, soft_wrap=True)
    for reward, controls in protocol["controls"].items():
        console.print(f"  {reward}: beside {', '.join(controls.values())}", markup=False,
                      highlight=False, soft_wrap=True)  # fmt: skip
    for key, value in protocol["settings"].items():
        console.print(f"  {key:28} {value}", markup=False, highlight=False, soft_wrap=True)


def print_verdict(document: Mapping[str, Any], as_json: bool) -> None:
    """Print a verdict document for a person, or as it is."""
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    console = for_tables()

    def say(line: str = "") -> None:
        console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)

    for entry in document["verdicts"]:
        name = f" [{entry['variant']}]" if entry["variant"] != "plain" else ""
        say()
        mark = " (exploratory: judged by end points named after its runs)"
        mark = mark if entry["exploratory"] else ""
        say(f"{entry['reward']}{name} on {entry['model']}: {entry['category'].upper()}{mark}")
        say(f"  {entry['meaning']}")
        say(f"  {entry['because']}")
        for line in _lines(entry, document["protocol"]):
            say(f"  {line}")
    protocol = document["protocol"]
    when = "written before the runs" if protocol["before"] else "named after the runs"
    say()
    say(f"protocol {document['protocol_hash'][:12]}, {when}; "
        f"intervals are 90 % (each end a one-sided 95 % bound), points per hundred")  # fmt: skip


def _lines(entry: Mapping[str, Any], protocol: Mapping[str, Any]) -> list[str]:
    """What stands below the sentence of one verdict."""
    lines = [f"note: {line}" for line in entry["notes"]]
    lines += [f"crashed: {name} ({reason})" for name, reason in entry["crashed"].items()]
    if entry["gain"] is None:
        return lines
    lines += ["", f"{'over':16} {'benchmark':22} {'points':>7}  {'interval':17} p above"]
    lines.append(_row("base", protocol["given"], entry["gain"]))
    if entry["gain_fresh"]:
        lines.append(_row("base", protocol["fresh"], entry["gain_fresh"]))
        lines.append(_row("base", "difference of the two", entry["difference"]))
        if entry["difference_log_odds"]:
            low, high = entry["difference_log_odds"]["interval90"]
            value = entry["difference_log_odds"]["value"]
            lines.append(
                f"{'':16} {'the same in log-odds':22} {value:+7.2f}  [{low:.2f}, {high:.2f}]"
            )
    lines += [_row(c["control"], c["benchmark"], c) for c in entry["controls"]]
    lines += ["", "ladder (accuracy; shares depend on the order of the steps):"]
    for rung in entry["ladder"]["steps"]:
        bar = "█" * round(WIDTH * rung["accuracy"] / 100)
        step = rung["step"]
        told = f"{step['value']:+.1f} ± {step['stderr']:.1f}" if step else ""
        lines.append(f"{rung['arm']:14} {bar:{WIDTH}} {rung['accuracy']:5.1f} {told:>12}")
    lines += ["", *_details(entry)]
    return lines


def _row(over: str, benchmark: str, found: Mapping[str, Any]) -> str:
    low, high = found["interval90"]
    span = f"[{low:.1f}, {high:.1f}]"
    where = benchmark if len(benchmark) <= 22 else f"{benchmark[:21]}…"
    return f"{over:16} {where:22} {found['value']:+7.1f}  {span:17} {found['p_above']:.3f}"


def _details(entry: Mapping[str, Any]) -> list[str]:
    """Reward quality, coverage, strategies, what would be needed."""
    lines = []
    quality = entry["reward_quality"]
    within, pooled = quality["within"], quality["pooled"]
    if within["value"] is not None:
        line = f"J within groups {_estimate(within)}, over {quality['groups']} groups"
        if quality["differ"]:
            line += f"; pooled it is {_estimate(pooled)}, which says more about problems"
        lines.append(line)
    majority = entry["base_majority"]
    lines.append(f"untrained maj@{majority['samples']}: {_estimate(majority, 100)}")
    if entry["coverage"]:
        by = entry["coverage"]["by"]
        found = next(m for m in entry["coverage"]["measures"] if m["measure"] == by)
        low, high = found["interval90"]
        lines.append(
            f"coverage expands: {entry['coverage']['expands']} ({by} {found['base']:.1f} "
            f"{found['value']:+.1f} [{low:.1f}, {high:.1f}])"
        )
    for one in entry["switching"]:
        shares = [
            f"{cell.replace('_', '→')} {100 * c['contribution']['value']:.0f} ± "
            f"{100 * c['contribution']['stderr']:.0f} %"
            for cell, c in one["cells"].items()
            if c["contribution"]
        ]
        if shares:
            lines.append(f"of the gain at T = {one['temperature']:g}: {', '.join(shares)}")
    need = entry["needed"]
    if entry["category"] == "underpowered" and need:
        lines.append(
            f"smallest effect that would have shown: {need['smallest_effect']:.1f} points; for "
            f"{need['of']:g} points "
            + (f"{need['seeds']} seeds per arm" if need["seeds"] else "more problems are needed")
        )
    collapsed = [f"{a['arm']} {100 * a['collapsed']:.0f} % on {a['benchmark']}"
                 for a in entry["arms"] if a["collapsed"]]  # fmt: skip
    if collapsed:
        lines.append(f"seeds that fell below half of the base: {', '.join(collapsed)}")
    return lines


def _estimate(found: Mapping[str, Any], factor: float = 1.0) -> str:
    error = "" if found["stderr"] is None else f" ± {factor * found['stderr']:.2g}"
    digits = 1 if factor > 1 else 2
    return f"{factor * found['value']:.{digits}f}{error}"
