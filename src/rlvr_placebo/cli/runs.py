"""Commands about one run: train, eval, and the lists of what there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction, arg

from rlvr_placebo.core.errors import PlaceboError

Settings = Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="KEY=VALUE")]


@dataclass(frozen=True)
class Train:
    """Train a model with GRPO under a reward, and evaluate it before and after."""

    model: str
    """An embedded family (pocket/code-prior), a checkpoint's folder, or a hub id."""
    reward: str
    """ground_truth, "random(0.5)", "shuffle(ground_truth)" … or a .json/.toml file."""
    out: Path
    """The run directory; must be new, unless --resume is given."""
    steps: int | None = None
    """Rollout batches; the recipe's number by default."""
    seed: int = 0
    """Of problem order, sampling, rewards and minibatches."""
    recipe: str = "pocket"
    """Which settings to start from: pocket, or paper (arXiv 2506.10947)."""
    settings: Settings = ()
    """Change a setting, e.g. --set clip_high=off; repeatable. See `placebo settings`."""
    resume: bool = False
    """Go on with the unfinished run in --out."""

    def run(self) -> None:
        """Check everything, train, and print what the run gained."""
        from rlvr_placebo.rewards.spec import parse
        from rlvr_placebo.train.settings import make_config, parse_settings

        given = {"seed": self.seed} | ({} if self.steps is None else {"steps": self.steps})
        changes = parse_settings(self.settings)
        for key in changes.keys() & given.keys():
            raise PlaceboError(f"{key} is given twice: write --{key} only, not --set {key}=… too")
        changes |= given
        config = make_config(self.model, parse(self.reward), self.recipe, changes)
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.cli.tables import print_gains
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.train.loop import run

        settle()
        with Display(config.steps) as display:
            if self.resume and not (self.out / "config.json").exists():
                display.say(f"nothing to resume in {self.out}: a new run starts")
            directory = run(config, self.out, self.resume, display)
        print_gains([directory], self.out)


@dataclass(frozen=True)
class Eval:
    """Evaluate a model on a benchmark; every sample is stored."""

    model: str
    """An embedded family, a checkpoint's folder, or a hub id; with --server its name there."""
    benchmark: str
    """A problem set (see `placebo benchmarks`) or a .jsonl file."""
    out: Path
    """Where samples and summary go; must be new, unless --resume is given."""
    server: str | None = None
    """An OpenAI-compatible endpoint, up to /v1; $OPENAI_API_KEY is sent to it."""
    concurrency: int = 8
    """Requests to the server at once."""
    samples: int = 4
    """Completions per problem at temperatures above 0."""
    temperature: float | None = None
    """By default both 0 (greedy) and 1."""
    template: str = "plain"
    """What surrounds a question: see `placebo templates`, or a .txt or .toml file."""
    max_tokens: int = 96
    """The longest completion."""
    seed: int = 0
    """Of all decoding."""
    extraction: str = "none"
    """Where no answer is stated: none, or last_number (as the paper's code does)."""
    precision: str = "float32"
    """What is computed with: float32 or bfloat16."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …; auto: a GPU where there is one and the model is not tiny."""
    max_rows: int = 256
    """Completions generated at once; changes memory and speed, not what is sampled."""
    resume: bool = False
    """Go on with what was killed in --out."""

    def run(self) -> None:
        """Evaluate and print accuracy with its error."""
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.cli.tables import print_summary
        from rlvr_placebo.evaluate.contract import EvaluationConfig
        from rlvr_placebo.evaluate.served import Server
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.train.standalone import (
            Computing,
            Place,
            evaluate_model,
            evaluate_served,
        )

        settle()
        if self.concurrency < 1:
            raise PlaceboError(f"--concurrency {self.concurrency}: must be 1 or more")
        if self.server and not self.server.startswith(("http://", "https://")):
            raise PlaceboError(f"--server {self.server}: must begin with http:// or https://")
        if self.server and "@" in self.server.split("/")[2]:
            raise PlaceboError("--server: give a key in $OPENAI_API_KEY, and none in the address")
        temperatures = (0.0, 1.0) if self.temperature is None else (self.temperature,)
        how = EvaluationConfig(
            (self.benchmark,), 0, temperatures, self.samples, self.max_tokens, self.seed,
            self.extraction,
        )  # fmt: skip
        rest = (how, self.template, Place(self.out, self.resume))
        with Display(0) as display:
            if self.server:
                key = os.environ.get("OPENAI_API_KEY", "").strip()
                if not key.isprintable() or not key.isascii():
                    raise PlaceboError("$OPENAI_API_KEY holds characters that no key has")
                server = Server(self.server, self.model, key, self.concurrency)
                summary = evaluate_served(server, *rest, display)
            else:
                computing = Computing(self.precision, self.device, self.max_rows)
                summary = evaluate_model(self.model, *rest, display, computing)
        print_summary(self.model, summary, self.out)


@dataclass(frozen=True)
class Probe:
    """Has a model seen a benchmark? Show it part of each problem and see how it goes on."""

    model: str
    """An embedded family, a checkpoint's folder, or a hub id."""
    benchmark: str
    """The problem set in question."""
    out: Path
    """Where continuations and probe.json go; must be new, unless --resume is given."""
    clean: str | None = None
    """A set that the model cannot have seen; by default pocket-fresh@7001 beside a pocket set, else
    aime-2025."""
    shares: tuple[float, ...] = (0.8, 0.6, 0.4)
    """Of each problem's words that are shown."""
    template: str = "plain"
    """The prompt under which gold answers are scored."""
    max_tokens: int = 96
    """For the answer, behind what is hidden."""
    resume: bool = False
    """Go on with what was killed in --out."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Probe both sets and print them side by side."""
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.cli.tables import print_probe
        from rlvr_placebo.evaluate.probe import Ask
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.train.standalone import probe_model

        settle()
        own = "pocket-fresh@7001" if self.benchmark.startswith("pocket-") else "aime-2025"
        clean = own if self.clean is None else self.clean
        if clean == self.benchmark:
            raise PlaceboError(f"--clean: {clean} is the set in question; choose another")
        ask = Ask((self.benchmark, clean), self.template, self.shares, self.max_tokens)
        with Display(0) as display:
            found = probe_model(self.model, ask, self.out, self.resume, display)
        print_probe(found, self.out, self.json)


@dataclass(frozen=True)
class Prompts:
    """Which prompt suits an untrained model? Chosen on half of a set, scored on the other half."""

    model: str
    """An embedded family, a checkpoint's folder, or a hub id."""
    benchmark: str
    """The development set; not the one that gains are reported on."""
    out: Path
    """Where samples and prompts.json go; must be new, unless --resume is given."""
    templates: tuple[str, ...] = ()
    """To try; by default all of `placebo templates`."""
    temperatures: tuple[float, ...] = (0.0, 1.0)
    """To try with each."""
    samples: int = 4
    """Completions per problem at temperatures above 0."""
    max_tokens: int = 96
    """The longest completion."""
    seed: int = 0
    """Of all decoding."""
    precision: str = "float32"
    """What is computed with: float32 or bfloat16."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …; auto: a GPU where there is one and the model is not tiny."""
    max_rows: int = 256
    """Completions generated at once; changes memory and speed, not what is sampled."""
    resume: bool = False
    """Go on with what was killed in --out."""

    def run(self) -> None:
        """Evaluate every cell and print both halves."""
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.cli.tables import print_prompts
        from rlvr_placebo.evaluate.contract import EvaluationConfig
        from rlvr_placebo.model.process import settle
        from rlvr_placebo.text.templates import TEMPLATES
        from rlvr_placebo.train.prompts import sweep_prompts
        from rlvr_placebo.train.standalone import Computing, Place

        settle()
        how = EvaluationConfig(
            (self.benchmark,), 0, self.temperatures, self.samples, self.max_tokens, self.seed
        )
        templates = self.templates or tuple(TEMPLATES)
        computing = Computing(self.precision, self.device, self.max_rows)
        place = Place(self.out, self.resume)
        with Display(0) as display:
            found = sweep_prompts(self.model, how, templates, place, display, computing)
        print_prompts(found, self.out)


@dataclass(frozen=True)
class Rewards:
    """List the rewards, one line each."""

    def run(self) -> None:
        """Print name and meaning."""
        from rlvr_placebo.rewards.registry import REWARDS

        width = max(len(e.usage) for e in REWARDS.values())
        for entry in REWARDS.values():
            print(f"{entry.usage:<{width}}  {entry.summary.replace('``', '')}")


@dataclass(frozen=True)
class Benchmarks:
    """List the problem sets, one line each."""

    def run(self) -> None:
        """Print name and content."""
        from rlvr_placebo.text.benchmarks import BENCHMARKS, data_folder
        from rlvr_placebo.text.pocket import SETS

        for name, summary in SETS.items():
            print(f"{name:<13} {summary}")
        for name, known in BENCHMARKS.items():
            print(
                f"{name:<13} {known.size} problems of {known.repository}, public since "
                f"{known.published}; {known.reported}"
            )
        print(f"(from the hub, or from {data_folder()})")
        print(
            f"{'FILE':<13} .jsonl, .json, .csv or .parquet with problem, answer, and optionally "
            "cluster; other columns: FILE?question=COLUMN&answer=COLUMN"
        )


@dataclass(frozen=True)
class Templates:
    """List the prompt templates, one line each."""

    def run(self) -> None:
        """Print name and meaning."""
        from rlvr_placebo.text.templates import SUMMARIES

        for name, summary in SUMMARIES.items():
            print(f"{name:<13} {summary}")
        print(f"{'FILE.txt':<13} your own text, verbatim, with {{question}} in it")
        print(f"{'FILE.toml':<13} text, and optionally stops (a list of texts) and chat (true)")


@dataclass(frozen=True)
class SettingsList:
    """List every setting of a run with its default under both recipes."""

    def run(self) -> None:
        """Print key, value by recipe, and what it means."""
        from rlvr_placebo.cli.tables import print_settings

        print_settings()
