"""The loop of a run, on one page: generate, verify, reward, learn, write; evaluate when declared.

Everything random is a function of (run seed, step, problem, sample, purpose), and everything a step
leaves behind is on disk before the next one starts, so a run killed anywhere and resumed writes the
same bytes as one left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlvr_placebo.core.files import write_json, write_table
from rlvr_placebo.core.rundir import STATE, RunDirectory, claim
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.learner.batch import make_batch
from rlvr_placebo.model.checkpoint import save
from rlvr_placebo.model.device import device_of, name_of
from rlvr_placebo.text.problems import batch_for
from rlvr_placebo.train.collect import describe, generate, reward, share_flat
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.evaluations import evaluate_after, label_pool
from rlvr_placebo.train.preflight import rollout_warnings, window_warning
from rlvr_placebo.train.rollouts import to_table
from rlvr_placebo.train.state import restore, save_state
from rlvr_placebo.train.trial import Trial, environment, moved, prepare
from rlvr_placebo.train.watch import Silent, Watch


def run(
    config: RunConfig,
    out: Path,
    resume: bool = False,
    watch: Watch | None = None,
    shared: Path | None = None,
) -> RunDirectory:
    """Carry out one run, or what is left of it.

    Args:
        config: what to do.
        out: the run directory.
        resume: go on with an unfinished run in ``out``; a finished one is left alone.
        watch: hears of progress.
        shared: folder that keeps what a study's runs have in common: evaluations of untrained
            models, and their labels.

    Raises:
        PlaceboError: a mistake in the configuration, or a directory that is in use.
    """
    watch = watch or Silent()
    trial = prepare(config)
    with claim(out, trial.document, resume) as directory:
        if directory.finished:
            directory.must_be_whole()
            (out / STATE).unlink(missing_ok=True)
            return directory
        watch.say(f"memory: {trial.needs}")
        here = environment(name_of(device_of(trial.learner.model)))
        for name, begun, now in moved(directory, here):
            watch.warn(
                f"goes on with {name} {now}, was begun with {begun}: its bytes are not those of a "
                "run that was left alone"
            )
        write_json(out / "environment.json", here)
        done = restore(directory, trial.learner)
        if done < 1:
            for line in trial.warnings:
                watch.warn(line)
        trial = label_pool(trial, directory, watch, shared)
        if done < 0:
            evaluate_after(trial, directory, 0, watch, shared)
            save_state(directory, trial.learner, 0)
        flat = [r["frac_reward_zero_std"] for r in directory.metrics("step")]
        saving = _Saving()
        for step in range(max(done, 0) + 1, config.steps + 1):
            one_step(trial, directory, step, watch, flat)
            keep(trial, directory, step, watch)
            if saving.due() or step == config.steps:
                saving.time(lambda step=step: save_state(directory, trial.learner, step))
        if config.steps == 0:
            save_checkpoint(trial, directory, 0)
        final = f"checkpoints/checkpoint-{config.steps}"
        directory.finish({"final_checkpoint": final, "steps": config.steps})
        return directory


def one_step(
    trial: Trial, directory: RunDirectory, step: int, watch: Watch, flat: list[float]
) -> None:
    """One rollout batch, its rewards and its updates.

    ``flat`` holds the share of groups without variance in reward of every step so far.
    """
    clock = _Clock()
    problems = batch_for(trial.pool, trial.config.seed, step, trial.config.rollout.problems)
    groups = generate(trial, problems, step)
    clock.lap("generation")
    groups = reward(trial, groups, step)
    clock.lap("scoring")
    flat.append(share_flat(groups))
    warnings = rollout_warnings(trial.config, groups) if step == 1 else []
    warnings += window_warning(flat)
    for line in warnings:
        watch.warn(line)
    batch = make_batch(groups, trial.config.loss.advantage)
    rng = generator_for(trial.config.seed, step, "", 0, "minibatches")
    learnt = trial.learner.step(batch, rng)
    clock.lap("update")
    table = to_table(groups, step, batch.advantages_B.tolist())
    write_table(directory.path / f"rollouts/step-{step:06d}.parquet", table)
    record: dict[str, Any] = {"kind": "step", "step": step, **describe(groups), **learnt}
    record["warnings"] = [*(trial.warnings if step == 1 else ()), *warnings]
    directory.append("metrics.jsonl", record)
    clock.lap("writing")
    directory.append("timings.jsonl", {"step": step, "time": time.time(), **clock.laps})
    watch.metrics(record, clock.laps)
    watch.progress("step", step, trial.config.steps)


def keep(trial: Trial, directory: RunDirectory, step: int, watch: Watch) -> None:
    """Evaluate and keep a checkpoint where the configuration declares it, and after training."""
    config = trial.config
    last = step == config.steps
    if last or (config.evaluation.every and step % config.evaluation.every == 0):
        evaluate_after(trial, directory, step, watch, None)
    if last or (config.checkpoint_every and step % config.checkpoint_every == 0):
        save_checkpoint(trial, directory, step)


def save_checkpoint(trial: Trial, directory: RunDirectory, step: int) -> None:
    """Write the model, or its adapters, as a Hugging Face checkpoint."""
    folder = directory.path / "checkpoints" / f"checkpoint-{step}"
    base = trial.config.model if trial.config.lora.rank else ""
    save(trial.learner.model, trial.checkpoint.tokenizer, folder, base,
         trial.config.checkpoint_precision)  # fmt: skip


class _Saving:
    """When to save the state: after every step, or as seldom as saving takes a twentieth of all.

    A large model's state is tens of gigabytes. What a resumed run repeats has the same bytes.
    """

    SHARE = 0.05

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._took = 0.0

    def due(self) -> bool:
        return (time.perf_counter() - self._last) * self.SHARE >= self._took

    def time(self, save: Callable[[], None]) -> None:
        began = time.perf_counter()
        save()
        self._last = time.perf_counter()
        self._took = self._last - began


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now
