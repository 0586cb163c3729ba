"""Calibrate the verdict by simulation and write what came out into docs/verdict.md.

python benchmarks/calibrate.py [--studies 10000] [--coverage 1000] [--power 1000] [--workers 2]

Nulls: studies in which nothing is there to be found, and how often they are called genuine.
Coverage: how often 95 % intervals hold the truth. Power: how often an effect is called genuine.
What is counted is kept; stopped at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pages import DOCS, fill

from rlvr_placebo.analysis import contrasts
from rlvr_placebo.core import statistics
from rlvr_placebo.core.files import digest, write_json
from rlvr_placebo.report.drawing import Scale, alone, dot, line, svg, text
from rlvr_placebo.verdict import calibration, decision, simulation
from rlvr_placebo.verdict.calibration import SEEDS, add, false_genuine, run_world
from rlvr_placebo.verdict.simulation import BLIND, NULLS, World, power_world

KEPT = Path("runs/calibration")
COUNTED = (calibration, contrasts, decision, simulation, statistics)  # code that decides the counts
SHARE = 250  # studies at a time, of one worker
SDS = (0.01, 0.015, 0.02, 0.03)
EFFECTS = (0.03, 0.04, 0.06, 0.08)
POWER_SEEDS = (5, 10)


def main() -> None:
    """Count, write the JSON, draw, and put the tables into the document."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--studies", type=int, default=10_000, help="per null")
    ask.add_argument("--coverage", type=int, default=1_000, help="per world and number of seeds")
    ask.add_argument("--power", type=int, default=1_000, help="per effect, seeds and spread")
    ask.add_argument("--workers", type=int, default=2)
    ask.add_argument("--docs", type=Path, default=DOCS, help="folder of verdict.md")
    ask.add_argument("--kept", type=Path, default=KEPT, help="folder of what is counted already")
    asked = ask.parse_args()
    started = time.perf_counter()
    with ProcessPoolExecutor(asked.workers) as pool:
        tally = Tally(pool, asked.kept)
        document = calibrate(tally, asked.studies, asked.coverage, asked.power)
    path = asked.docs / "verdict-calibration.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    write_page(document, asked.docs)
    nulls = [null for null in document["nulls"] if not null["blind"]]
    worst = max(nulls, key=lambda null: null["genuine"]["upper95"])
    say(f"worst null: {worst['name']}: at most {100 * worst['genuine']['upper95']:.2f} %")
    say(f"{time.perf_counter() - started:.0f} s; written: {path}")


def calibrate(tally: Tally, studies: int, coverage: int, power: int) -> dict[str, Any]:
    """Everything that is counted."""
    nulls = {n: tally.count(n, w, studies) for n, w in NULLS.items()}
    nulls |= {n: tally.count(n, w, coverage) for n, w in BLIND.items()}
    powers = {
        (e, n, sd): tally.count(f"power {e} {n} {sd}", power_world(e, n, sd), power)
        for e in EFFECTS for n in POWER_SEEDS for sd in SDS
    }  # fmt: skip
    covered = {
        (name, seeds): nulls[name] if seeds == world.seeds
        else tally.count(f"{name} {seeds}", replace(world, seeds=seeds), coverage)
        for name, world in (NULLS | BLIND).items() for seeds in SEEDS
    }  # fmt: skip
    return {
        "nulls": [
            {"name": n, "blind": n in BLIND, "categories": c["categories"],
             "genuine": false_genuine(c).as_dict()}
            for n, c in nulls.items()
        ],
        "coverage": [
            {"name": n, "seeds": s, "blind": n in BLIND, "studies": c["studies"],
             "genuine": false_genuine(c).as_dict(),
             "covered": {what: times / c["studies"] for what, times in c["covered"].items()}}
            for (n, s), c in covered.items()
        ],
        "power": [
            {"effect": e, "seeds": s, "sd": sd, **false_genuine(c).as_dict()}
            for (e, s, sd), c in powers.items()
        ],
    }  # fmt: skip


class Tally:
    """Studies of worlds, shared out over workers; what was counted before is not counted again."""

    def __init__(self, pool: ProcessPoolExecutor, kept: Path) -> None:
        """Count with a pool, and keep what was counted in a folder."""
        self.pool, self.kept = pool, kept
        kept.mkdir(parents=True, exist_ok=True)
        self.code = digest([Path(module.__file__ or "").read_text("utf-8") for module in COUNTED])

    def count(self, name: str, world: World, studies: int) -> dict[str, Any]:
        """How often studies of one world came out how."""
        path = self.kept / f"{digest([self.code, name, repr(world), studies])}.json"
        if path.exists():
            counts = json.loads(path.read_text(encoding="utf-8"))
        else:
            shares = [range(i, min(i + SHARE, studies)) for i in range(0, studies, SHARE)]
            names, worlds = [name] * len(shares), [world] * len(shares)
            counts = add(list(self.pool.map(run_world, names, worlds, shares)))
            write_json(path, counts)
        found = false_genuine(counts)
        say(f"{name}: genuine {found.times} of {found.of}")
        return counts


def write_page(document: dict[str, Any], docs: Path) -> None:
    """Put tables and plots between the marks of docs/verdict.md."""
    (docs / "verdict-nulls.svg").write_text(draw_nulls(document["nulls"]), encoding="utf-8")
    (docs / "verdict-power.svg").write_text(draw_power(document["power"]), encoding="utf-8")
    page = docs / "verdict.md"
    fill(page, "nulls", null_table(document["nulls"]))
    fill(page, "coverage", coverage_table(document["coverage"]))
    fill(page, "power", power_table(document["power"]))


def null_table(nulls: list[dict[str, Any]]) -> str:
    """How often each null was called what, at five seeds."""
    rows = [
        "| truth | studies | genuine | upper 95 % bound | called most |",
        "|---|---|---|---|---|",
    ]
    for null in nulls:
        found, most = null["genuine"], max(null["categories"], key=null["categories"].get)
        mark = " (cannot be seen)" if null["blind"] else ""
        rows.append(
            f"| {null['name']}{mark} | {found['of']:,} | {100 * found['share']:.2f} % "
            f"| {100 * found['upper95']:.2f} % | {most} |"
        )
    return "\n".join(rows)


def coverage_table(entries: list[dict[str, Any]]) -> str:
    """The lowest and highest coverage over the contrasts of each world."""
    head = [f"{seeds} seeds" for seeds in SEEDS]
    rows = [f"| truth | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name in dict.fromkeys(e["name"] for e in entries):
        cells = []
        for seeds in SEEDS:
            own = next(e for e in entries if e["name"] == name and e["seeds"] == seeds)
            shares = own["covered"].values()
            false = f"{100 * own['genuine']['share']:.1f}"
            cells.append(f"{100 * min(shares):.1f} to {100 * max(shares):.1f}; {false}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def power_table(entries: list[dict[str, Any]]) -> str:
    """How often each effect was called genuine."""
    head = [f"{seeds} seeds, SD {100 * sd:g}" for seeds in POWER_SEEDS for sd in SDS]
    rows = [
        f"| points beyond the best control | {' | '.join(head)} |",
        "|---" * (len(head) + 1) + "|",
    ]
    for effect in EFFECTS:
        own = {(e["seeds"], e["sd"]): e["share"] for e in entries if e["effect"] == effect}
        cells = [f"{100 * own[seeds, sd]:.0f} %" for seeds in POWER_SEEDS for sd in SDS]
        rows.append(f"| {100 * effect:g} | {' | '.join(cells)} |")
    return "\n".join(rows)


def draw_nulls(nulls: list[dict[str, Any]]) -> str:
    """Shares called genuine with their 95 % bounds, beside the line at 5 %."""
    x, foot = Scale(0, 40, 460, 980), 24 * len(nulls) + 30
    parts = [line(x(5), 10, x(5), foot - 16, "refuted")]
    for row, null in enumerate(nulls):
        y, found = 26 + 24 * row, null["genuine"]
        low, mid, high = (x(100 * found[key]) for key in ("lower95", "share", "upper95"))
        name = text(450, y + 4, null["name"], "end")
        parts.append(name + line(low, y, high, y, "bar") + dot(mid, y, "dot"))
    parts += [text(x(t), foot, f"{t} %") for t in (0, 5, 10, 20, 30, 40)]
    return alone(svg(1020, foot + 10, "Share of null studies called genuine", parts))


def draw_power(entries: list[dict[str, Any]]) -> str:
    """Share called genuine by effect; one line per number of seeds and spread."""
    x, y = Scale(0.03, 0.08, 60, 410), Scale(0, 1, 220, 20)
    colours = {5: "#1f6feb", 10: "#c2571a"}
    dashes = {0.01: "none", 0.015: "8 3", 0.02: "4 3", 0.03: "1 3"}
    parts = []
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        tick = text(52, y(share) + 4, f"{100 * share:.0f} %", "end")
        parts.append(line(60, y(share), 410, y(share), "grid") + tick)
    for seeds in POWER_SEEDS:
        for sd in SDS:
            own = sorted((e["effect"], e["share"]) for e in entries
                         if (e["seeds"], e["sd"]) == (seeds, sd))  # fmt: skip
            points = " ".join(f"{x(effect):.1f},{y(share):.1f}" for effect, share in own)
            parts.append(Markup(
                '<polyline points="{}" fill="none" stroke="{}" stroke-width="2" '
                'stroke-dasharray="{}"><title>{} seeds, SD {:g}</title></polyline>'
            ).format(points, colours[seeds], dashes[sd], seeds, 100 * sd))  # fmt: skip
    parts += [text(x(effect), 240, f"{100 * effect:g}") for effect in EFFECTS]
    says = ("5 seeds: blue", "10 seeds: orange", "solid: SD 1, then 1.5, 2, 3")
    parts += [text(430, 40 + 20 * row, said, "start") for row, said in enumerate(says)]
    return alone(svg(620, 250, "Share called genuine, by points beyond the best control", parts))


def say(line: str) -> None:
    """One line of progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
