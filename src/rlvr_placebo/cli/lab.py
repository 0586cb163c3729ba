"""Commands of the embedded lab: families and labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from rlvr_placebo.core.errors import PlaceboError


@dataclass(frozen=True)
class PocketBuild:
    """Pre-train an embedded family, or a variety of one; kept, and found again by its name."""

    family: Positional[str]
    """code-prior, mixed-prior, bad-code, no-code or memoriser."""
    architecture: str | None = None
    """qwen2, qwen3, llama, mistral or olmo2, if not its own: crosses prior and architecture."""
    dose: float | None = None
    """Frequency of code, if not the family's own; 0.2, 0.35, 0.5, 0.65, 0.8 are the usual ones."""
    seed: int = 0
    """Pre-training seed: weights, corpus, order."""
    out: Path | None = None
    """Folder of the checkpoint, if not the cache; must be new."""
    steps: int | None = None
    """Optimizer steps of each stage, if not the standard number: a look, not a family."""

    def run(self) -> None:
        """Build and say where it lies."""
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.pocket.build import build
        from rlvr_placebo.pocket.families import Variety

        settle()
        if self.steps is not None and (self.steps < 1 or self.out is None):
            raise PlaceboError("--steps: at least 1, and only with --out")
        variety = Variety(self.family, self.architecture, self.dose, self.seed)
        with Display(0) as display:
            folder = build(variety, self.out, display.pretraining, self.steps)
        print(f"pocket/{variety.name} is in {folder}")


@dataclass(frozen=True)
class PocketCheck:
    """Measure the families against their calibration, on problems nobody tuned on."""

    models: tuple[str, ...] = ()
    """Families to check (pocket/code-prior …); by default all that are shipped."""
    seed: int = 7001
    """Of the problems: pocket-fresh@SEED."""
    problems: int = 5000
    """Problems; four times as many where a cell is rarer than 3 %."""
    workers: int = 2
    """Families at once, each on one thread."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Print every figure beside its target; status 1 where one is missed."""
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.cli.tables import print_check
        from rlvr_placebo.pocket.check import check_families

        with Display(0) as display:
            results = check_families(
                self.models, self.seed, self.problems, self.workers, display.progress
            )
        print_check(results, self.json)
        if not all(figure["ok"] for result in results for figure in result["figures"]):
            raise SystemExit(1)


@dataclass(frozen=True)
class LabelsBuild:
    """Sample an untrained model on training problems and keep the votes on every answer."""

    model: str
    """An embedded family, a checkpoint's folder, or a hub id."""
    out: Path
    """Folder of the labels; the same command goes on with what is there."""
    pool: str = "pocket-train"
    """Training problems: a set by name, or a .jsonl file."""
    samples: int = 16
    """Samples per problem (the paper's 64)."""
    temperature: float = 1.0
    """Of the samples."""
    template: str = "plain"
    """What surrounds a question; the same as in training."""
    max_tokens: int = 72
    """The longest sample."""
    seed: int = 0
    """Of the samples."""

    def run(self) -> None:
        """Sample, count and print what the labels are worth."""
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.cli.tables import print_labels
        from rlvr_placebo.labels.build import Request, build_labels
        from rlvr_placebo.labels.votes import LabelsConfig
        from rlvr_placebo.model.process import settle

        settle()
        how = LabelsConfig(self.samples, self.temperature, self.seed)
        request = Request(self.model, self.pool, self.template, self.max_tokens, how)
        with Display(0) as display:
            table = build_labels(request, self.out, display.progress)
        print_labels(table, self.out)


@dataclass(frozen=True)
class LabelsCheck:
    """Have two independent checkers judge the wrong labels: are they really wrong?"""

    folder: Positional[Path]
    """What `placebo labels build` wrote, or a run's directory."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Print the shares; status 1 where a checker calls fewer than 99.5 % wrong."""
        from rlvr_placebo.cli.tables import print_labels_check
        from rlvr_placebo.labels.build import open_labels
        from rlvr_placebo.labels.quality import check_incorrect

        table = open_labels(self.folder)
        found = check_incorrect(table)
        print_labels_check(table, found, self.json)
        if not found["ok"]:
            raise SystemExit(1)
