"""Commands about claims: list them, carry them out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from rlvr_placebo.cli.console import for_tables
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import write_atomic

if TYPE_CHECKING:
    from markupsafe import Markup

    from rlvr_placebo.claims.claim import Claim

MINUTE = 60.0  # seconds


@dataclass(frozen=True)
class ClaimsList:
    """List what is claimed of RLVR: by whom, how it is decided, and by which study."""

    ids: Positional[tuple[str, ...]] = ()
    """Only these, with every effect and its rule."""
    json: bool = False
    """Print the list as JSON."""

    def run(self) -> None:
        """Print one entry per claim."""
        from rlvr_placebo.claims.carry import choose, describe

        claims = choose(self.ids, quick=False)
        if self.json:
            print(json.dumps([describe(claim) for claim in claims], indent=2, ensure_ascii=False))
            return
        for claim in claims:
            self._show(claim, describe(claim))

    def _show(self, claim: Claim, entry: Mapping[str, Any]) -> None:
        from rlvr_placebo.claims.carry import study_file

        quick = ", quick" if claim.quick else ""
        lines = [f"{claim.id:20} {claim.says} ({claim.source}{quick})"]
        if self.ids:
            lines += [f"  {e['effect']}: {e['rule']}, δ = {e['margin']:g}; {e['means']}"
                      for e in entry["effects"]]  # fmt: skip
            lines.append(f"  seeds {entry['seeds']}; {study_file(claim.study)}")
        for line in lines:
            for_tables().print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class ClaimsRun:
    """Run the studies of claims and say which are shown."""

    ids: Positional[tuple[str, ...]] = ()
    """Which claims; without any, all of them (or with --quick a first look)."""
    out: Path = Path("runs/claims")
    """Where everything goes; the same command goes on with what is there."""
    quick: bool = False
    """Only the claims of a first look."""
    minutes: float = 100.0
    """Begin no further run after so long; the same command goes on."""
    workers: int = 2
    """Runs at once, each on one thread."""
    json: bool = False
    """Print what was found as JSON."""

    def run(self) -> None:
        """Carry out what is left and print the findings."""
        from rlvr_placebo.claims.carry import choose, plan_of, run_claims
        from rlvr_placebo.cli.progress import Display, StudyDisplay
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.report.findings import draw_effects
        from rlvr_placebo.study.local import Launch

        _check(self.workers, self.minutes)
        claims = choose(self.ids, self.quick)
        settle()
        launch = Launch(self.out, self.workers, seconds=MINUTE * self.minutes)
        with (
            StudyDisplay(self.out, set(plan_of(claims, self.out).arms)) as runs,
            Display(0) as display,
        ):
            document = run_claims(claims, launch, display, runs.report)
        if document["claims"]:
            _draw(self.out / "claims.svg", draw_effects(document["claims"]))
        if self.json:
            print(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            print_findings(document)
        if document["crashed"]:
            name, reason = next(iter(document["crashed"].items()))
            more = len(document["crashed"]) - 1
            rest = f", and {more} more" if more else ""
            raise PlaceboError(f"{self.out}: run {name} failed ({reason}){rest}; the claims that "
                               "need it wait")  # fmt: skip


def _check(workers: int, minutes: float) -> None:
    if workers < 1:
        raise PlaceboError(f"--workers {workers}: must be 1 or more")
    if not 0 < minutes < math.inf:
        raise PlaceboError(f"--minutes {minutes:g}: must be above 0")


def _draw(path: Path, drawing: Markup) -> None:
    from rlvr_placebo.report.drawing import alone

    write_atomic(path, alone(drawing))
    print(f"drawn: {path}", file=sys.stderr)


def print_findings(document: Mapping[str, Any]) -> None:
    """Print what was found, effect by effect."""
    from rlvr_placebo.report.findings import spell

    console = for_tables()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    for claim in document["claims"]:
        say(f"{claim['id']}: {claim['finding'].upper()}. {claim['says']}")
        for effect in claim["effects"]:
            said = f"{effect['effect']} {effect['rule']}: {effect['finding']} ({spell(effect)}"
            if effect["finding"].startswith("undecided"):
                said += (f"; a test sees {effect['detectable']:.1f}, the rule shows from "
                         f"{effect['shows_from']:.1f}")  # fmt: skip
            say(f"  {said})")
    marks = document["signatures"]
    if marks["of"]:
        say(f"signatures that nobody calibrated: {marks['shown']} of {marks['of']} shown")
    for one in document["code_and_accuracy"]:
        low, high = one["interval"]
        say(f"code and accuracy over {one['n']} runs of {one['model']}: r = {one['r']:.2f} "
            f"[{low:.2f}, {high:.2f}]")  # fmt: skip
    if document["waiting"]:
        say(f"not run to their end yet: {', '.join(document['waiting'])}; the same command goes on")
    say("points per hundred; intervals are 90 %, each end a one-sided 95 % bound")


@dataclass(frozen=True)
class Clipping:
    """The clipping laboratory: does clipping carry a signal where rewards carry none?"""

    out: Path = Path("runs/clipping")
    """Where everything goes; the same command goes on with what is there."""
    minutes: float = 100.0
    """Begin nothing further after so long; the same command goes on."""
    batches: int = 120
    """Of local drift, in each of its cells; a third of them by AdamW."""
    workers: int = 2
    """Processes at once, each on one thread."""
    json: bool = False
    """Print everything as JSON."""

    def run(self) -> None:
        """Carry out what is left and print the decision."""
        from rlvr_placebo.claims.carry import study_file
        from rlvr_placebo.claims.laboratory import run_laboratory
        from rlvr_placebo.cli.progress import Display, StudyDisplay
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.report.findings import draw_drift, draw_ends
        from rlvr_placebo.study.local import Launch
        from rlvr_placebo.study.matrix import load_study

        _check(self.workers, self.minutes)
        if self.batches < 2:
            raise PlaceboError(f"--batches {self.batches}: must be 2 or more")
        settle()
        launch = Launch(self.out, self.workers, seconds=MINUTE * self.minutes)
        names = set(load_study(study_file("clipping")).runs)
        with StudyDisplay(self.out, names) as runs, Display(0) as display:
            document = run_laboratory(launch, display, self.batches, runs.report)
        if document["local"]:
            _draw(self.out / "drift.svg", draw_drift(document["local"]))
        if document["trajectories"]:
            _draw(self.out / "ends.svg", draw_ends(document["trajectories"]))
        if self.json:
            print(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            print_laboratory(document)


def print_laboratory(document: Mapping[str, Any]) -> None:
    """Print the decision, and the drifts and ends behind it."""
    from rlvr_placebo.report.findings import spell

    console = for_tables()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    if document["decision"]:
        say(f"{document['decision'].upper()}: {document['rule']}")
    else:
        say("not run to its end yet; the same command goes on")
    for how, found in document["towards_likelier"].items():
        say(f"drift beyond off towards the likelier opening, log-odds per rollout, {how}, "
            f"{found['doses']} doses (a tenth of luck: {found['margin']:.5f}):")  # fmt: skip
        beyond = {**found["cells"], "both − mask": found["beyond_mask"]}
        for cell, one in beyond.items():
            low, high = one["interval90"]
            say(f"  {cell:14} {one['value']:+.5f} [{low:+.5f}, {high:+.5f}]")
    for model, cells in document["trajectories"].items():
        say(f"accuracy after training, {model}:")
        for cell, one in cells.items():
            line = f"  {cell:14} {spell(one['gain'])}"
            for name, over in one["over"].items():
                line += f"; over {name} {spell(over)} (SD {over['sd']:.1f}, {over['sd_other']:.1f})"
            say(line)
