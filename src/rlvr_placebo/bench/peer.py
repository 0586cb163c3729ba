"""The other side: TRL's ``GRPOTrainer``, and ``transformers``' two ways to generate.

Same checkpoint, prompts, group size, lengths, temperature, updates per rollout, float32, one
thread. TRL is an extra (``pip install "rlvr-placebo[trl]"``).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlvr_placebo.bench.ours import LEARNING_RATE
from rlvr_placebo.bench.profiles import Profile
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Problem
from rlvr_placebo.verify.judge import verify


def trl_version() -> str:
    """TRL's version.

    Raises:
        PlaceboError: it is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("trl")
    except PackageNotFoundError:
        raise PlaceboError(
            'bench: TRL is not installed; pip install "rlvr-placebo[trl]", or --peer none'
        ) from None


def trl_steps(
    profile: Profile,
    folder: Path,
    problems: list[Problem],
    scratch: Path,
    cycles: int,
    between: Callable[[dict[str, float]], None],
) -> None:
    """Train with TRL for so many rollout batches.

    Args:
        profile: batch, lengths, updates.
        folder: the checkpoint.
        problems: the same pool as ours.
        scratch: for what TRL writes.
        cycles: rollout batches with their updates.
        between: called after each with its seconds; the time it takes counts for no one.
    """
    from transformers import PrinterCallback

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _trainer(profile, folder, problems, scratch, cycles * profile.updates)
        clock = _clock(profile.updates, between)
        _lap(trainer, "_generate", clock.laps, "generation")
        _lap(trainer, "_calculate_rewards", clock.laps, "scoring")
        trainer.add_callback(clock)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _trainer(
    profile: Profile, folder: Path, problems: list[Problem], scratch: Path, steps: int
) -> Any:  # noqa: ANN401 (TRL's)
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer

    datasets.disable_progress_bars()
    config = trl.GRPOConfig(
        output_dir=str(scratch / "trl"), max_steps=steps, learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant", adam_beta2=0.95, max_grad_norm=1.0, beta=0.0,
        loss_type="grpo", epsilon=0.2, temperature=1.0, top_p=1.0, top_k=0,
        num_generations=profile.samples, max_completion_length=profile.max_tokens,
        per_device_train_batch_size=profile.problems * profile.samples // profile.updates,
        steps_per_generation=profile.updates, gradient_accumulation_steps=1, num_iterations=1,
        use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, save_strategy="no",
        report_to=[], logging_strategy="no", disable_tqdm=True, seed=1,
    )  # fmt: skip
    rows = [{"prompt": p.question + "\n", "answer": p.golds[0]} for p in problems]
    return trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=_at_random if profile.width else _reward,
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )


_coin = np.random.default_rng(0)


def _at_random(completions: list[str], **_: object) -> list[float | None]:
    return [float(_coin.random() < 0.5) for _ in completions]


def _reward(completions: list[str], answer: list[str], **_: object) -> list[float | None]:
    return [float(verify(c, [a]).correct is True) for c, a in zip(completions, answer, strict=True)]


def _lap(trainer: Any, name: str, laps: dict[str, float], part: str) -> None:  # noqa: ANN401
    """Time one method of the trainer."""
    original = getattr(trainer, name)

    def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            laps[part] = laps.get(part, 0.0) + time.perf_counter() - started

    setattr(trainer, name, timed)


def _clock(updates: int, between: Callable[[dict[str, float]], None]) -> Any:  # noqa: ANN401
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Times whole cycles: a rollout batch and all its updates."""

        laps: dict[str, float] = {}  # noqa: RUF012 (one clock)

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
            del args, control
            if state.global_step % updates == 0:
                self.laps.clear()
                self._started = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
            del args, control
            if state.global_step % updates == 0:
                whole = time.perf_counter() - self._started
                rest = whole - sum(self.laps.values())
                between({"step": whole, "update": rest, **self.laps})

    return Clock()


class Generate:
    """``transformers.generate``, padded on the left, as TRL calls it."""

    name = "transformers.generate"

    def __init__(self, profile: Profile, folder: Path, prompts: list[tuple[int, ...]]) -> None:
        """Load the model and pad the prompts of all rows."""
        from transformers import AutoModelForCausalLM

        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        rows = [list(p) for p in prompts for _ in range(profile.samples)]
        longest = max(map(len, rows))
        self._ids = torch.tensor([[0] * (longest - len(r)) + r for r in rows])
        self._mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
        self._rows, self._max_tokens = rows, profile.max_tokens

    @torch.no_grad()
    def once(self) -> tuple[float, int]:
        """Seconds and tokens of one call."""
        started = time.perf_counter()
        out = self._model.generate(
            input_ids=self._ids, attention_mask=self._mask, do_sample=True, temperature=1.0,
            top_p=1.0, top_k=0, max_new_tokens=self._max_tokens, pad_token_id=0,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        return seconds, _until_stop(out[:, self._ids.shape[1] :])


class Continuous(Generate):
    """``transformers``' continuous batching."""

    name = "transformers continuous batching"

    @torch.no_grad()
    def once(self) -> tuple[float, int]:
        """Seconds and tokens of one call."""
        from transformers import GenerationConfig

        config = GenerationConfig(
            max_new_tokens=self._max_tokens, do_sample=True, temperature=1.0, top_p=1.0, top_k=0,
            eos_token_id=self._model.generation_config.eos_token_id, pad_token_id=0,
        )  # fmt: skip
        started = time.perf_counter()
        found = self._model.generate_batch(self._rows, generation_config=config, progress_bar=False)
        seconds = time.perf_counter() - started
        return seconds, sum(len(r.generated_tokens) for r in found.values())


def _until_stop(tokens_BT: torch.Tensor) -> int:
    """Tokens up to the first stop token of every row (id 0 in the pocket vocabulary)."""
    stopped = (tokens_BT == 0).cumsum(1)
    return int((stopped == 0).sum() + (stopped[:, -1] > 0).sum())
