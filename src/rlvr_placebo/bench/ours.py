"""Our own side of the benchmark: steps of a real run, and generation alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from pathlib import Path

from rlvr_placebo.bench.profiles import Profile
from rlvr_placebo.core.files import read_jsonl
from rlvr_placebo.core.rundir import claim
from rlvr_placebo.core.seeds import seed_for
from rlvr_placebo.model.checkpoint import load
from rlvr_placebo.model.device import CPU
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import get_template, render
from rlvr_placebo.train.loop import one_step
from rlvr_placebo.train.settings import make_config
from rlvr_placebo.train.trial import Trial, prepare
from rlvr_placebo.train.watch import Silent

POOL = "pocket-train"
LEARNING_RATE = 1e-6  # so that lengths stay what they are while the two are compared


class Steps:
    """Steps of one of our runs, one at a time, written to disk as in any run."""

    def __init__(self, trial: Trial, out: Path) -> None:
        """Time steps of ``trial``, whose directory is ``out``."""
        self.trial = trial
        self._out = out
        self._done = 0
        self._flat: list[float] = []

    def step(self) -> dict[str, float]:
        """Make the next step: seconds of its parts and as a whole."""
        self._done += 1
        started = time.perf_counter()
        one_step(self.trial, self._directory, self._done, Silent(), self._flat)
        whole = time.perf_counter() - started
        laps = read_jsonl(self._out / "timings.jsonl")[-1]
        return {"step": whole, **{k: laps[k] for k in ("generation", "scoring", "update")}}

    @contextlib.contextmanager
    def open(self) -> Generator[Steps]:
        """Hold the run's directory."""
        with claim(self._out, self.trial.document, resume=False) as self._directory:
            yield self

    def lengths(self) -> tuple[list[int], list[list[int]], list[list[int]]]:
        """Tokens of the last step's prompts, completions, and those that have an advantage."""
        path = self._out / f"rollouts/step-{self._done:06d}.parquet"
        import pyarrow.parquet as pq

        rows = pq.read_table(path, columns=["group", "prompt", "tokens", "advantage"]).to_pylist()
        prompts: dict[int, int] = {row["group"]: len(row["prompt"]) for row in rows}
        completions: dict[int, list[int]] = {group: [] for group in prompts}
        taught: dict[int, list[int]] = {group: [] for group in prompts}
        for row in rows:
            completions[row["group"]].append(len(row["tokens"]))
            if row["advantage"] != 0:
                taught[row["group"]].append(len(row["tokens"]))
        return list(prompts.values()), list(completions.values()), list(taught.values())


def our_steps(profile: Profile, folder: Path, scratch: Path) -> Steps:
    """A run of a profile's size, ready to step."""
    settings = {
        "steps": 1000, "rollout.problems": profile.problems, "rollout.samples": profile.samples,
        "rollout.max_tokens": profile.max_tokens, "optimizer.minibatches": profile.updates,
        "optimizer.learning_rate": LEARNING_RATE, "pool": POOL, "device": CPU,
    }  # fmt: skip
    # Random weights solve nothing: equal rewards would leave nothing to update.
    reward = "random(0.5)" if profile.width else "ground_truth"
    config = make_config(str(folder), reward, "pocket", settings)
    return Steps(prepare(config), scratch / f"{profile.name}-run")


class Generation:
    """Generation alone, of the same prompts as the peer's."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        """Load the model and render prompts."""
        checkpoint = load(str(folder), CPU)
        problems = load_problems(POOL)[: profile.problems]
        template = get_template("plain")
        self.prompts = [render(p, template, checkpoint.tokenizer) for p in problems]
        self.architecture = checkpoint.model.architecture
        self.lengths: list[list[int]] = []
        rows = profile.problems * profile.samples
        self._engine = NativeEngine(checkpoint.model, checkpoint.tokenizer, max(256, rows))
        self._sampling = Sampling(1.0, 1.0, profile.max_tokens)
        self._samples = profile.samples
        self._done = 0

    def once(self) -> tuple[float, int]:
        """Seconds and tokens of one call."""
        self._done += 1
        seeds = [[seed_for(self._done, 0, str(p), i, "bench") for i in range(self._samples)]
                 for p in range(len(self.prompts))]  # fmt: skip
        started = time.perf_counter()
        groups = self._engine.generate(self.prompts, self._sampling, seeds)
        seconds = time.perf_counter() - started
        self.lengths = [[len(c) for c in group] for group in groups]
        return seconds, sum(map(sum, self.lengths))
