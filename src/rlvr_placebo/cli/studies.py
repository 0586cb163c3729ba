"""Commands about studies: run, status, plan, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from rlvr_placebo.core.errors import PlaceboError


@dataclass(frozen=True)
class StudyRun:
    """Run every cell of a study file; write summary.json and report.html, print the gains."""

    file: Positional[Path]
    """The study: a TOML file with models, rewards, seeds."""
    out: Path
    """The study's folder; the same command goes on with what is there."""
    workers: int = 2
    """Runs at once, each on one thread."""
    store: Path | None = None
    """Folder that keeps the runs, if not --out; studies with the same store share their runs."""

    def run(self) -> None:
        """Run what is not yet run; write and print the table of gains."""
        from rlvr_placebo.cli.progress import StudyDisplay
        from rlvr_placebo.cli.tables import print_gains
        from rlvr_placebo.report.page import write_report
        from rlvr_placebo.study.local import Launch, run_study
        from rlvr_placebo.study.matrix import load_study

        if self.workers < 1:
            raise PlaceboError("--workers: at least 1")
        study = load_study(self.file)
        with StudyDisplay(self.store or self.out, set(study.runs)) as display:
            launch = Launch(self.out, self.workers, self.store)
            runs = run_study(study, launch, display.report)
        print_gains(runs, self.out)
        print(f"written: {write_report(self.out)}")


@dataclass(frozen=True)
class StudyStatus:
    """Say how far the runs of a study are."""

    folder: Positional[Path]
    """The study's folder."""
    json: bool = False
    """Print the status as JSON."""

    def run(self) -> None:
        """Print one line per run."""
        from rlvr_placebo.analysis.folder import StudyFolder
        from rlvr_placebo.cli.tables import print_status

        print_status(StudyFolder.open(self.folder), self.json)


@dataclass(frozen=True)
class StudyPlan:
    """Say what a study file asks for and how long it will take, by measured costs."""

    file: Positional[Path]
    """The study: a TOML file with models, rewards, seeds."""
    store: Path | None = None
    """Folder of a study, or a store: runs finished there are not counted, its costs are used."""
    workers: int = 2
    """Runs at once."""
    measure: bool = True
    """Measure costs that are not known yet by a few steps of each model (--no-measure: do not)."""
    json: bool = False
    """Print the plan as JSON."""

    def run(self) -> None:
        """Print runs, steps and time."""
        from rlvr_placebo.analysis.folder import MARKER, StudyFolder
        from rlvr_placebo.cli.tables import print_plan
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.study.matrix import load_study
        from rlvr_placebo.study.plan import plan_study

        settle()
        if self.workers < 1:
            raise PlaceboError("--workers: at least 1")
        study, store = load_study(self.file), self.store
        if store is not None and not store.is_dir():
            raise PlaceboError(f"--store {store}: there is no such folder")
        if store is not None and (store / MARKER).exists():
            store = StudyFolder.open(store).store
        print_plan(plan_study(study, store, self.measure), self.workers, self.json)


@dataclass(frozen=True)
class Report:
    """Write the report of a study, finished or not: one HTML page that needs nothing else."""

    folder: Positional[Path]
    """The study's folder."""

    def run(self) -> None:
        """Write report.html and say where it is."""
        from rlvr_placebo.report.page import write_report

        print(f"written: {write_report(self.folder)}")
