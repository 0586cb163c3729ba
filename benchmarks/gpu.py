"""One GPU: parity, decoding and updates beside what the hardware could do, and transformers.

python benchmarks/gpu.py             # shapes of Qwen2.5-0.5B and 1.5B, 64 × 8 × 512 tokens
python benchmarks/gpu.py --shapes tiny --device cpu --problems 2 --samples 2 --tokens 8

Weights are random: completions run to their last token, and nothing but speed is measured.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rlvr_placebo.core.records import Group, Problem, Rollout, Score, Status, Verification
from rlvr_placebo.core.seeds import seed_for
from rlvr_placebo.learner.batch import Batch, make_batch
from rlvr_placebo.learner.learner import Learner, OptimizerConfig
from rlvr_placebo.learner.losses import LossConfig
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.decoder import Decoder, initialise
from rlvr_placebo.model.device import choose, name_of, place
from rlvr_placebo.model.logprobs import completion_logprobs
from rlvr_placebo.model.published import parameters
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.rollout.slots import SlotEngine

SHAPES = {
    "tiny": Architecture("qwen2", 640, 64, 2, 4, 2, 16, 128, 4096, 1e-6, 1e6, True, False),
    "0.5B": Architecture("qwen2", 151936, 896, 24, 14, 2, 64, 4864, 32768, 1e-6, 1e6, True, False),
    "1.5B": Architecture(
        "qwen2", 151936, 1536, 28, 12, 2, 128, 8960, 32768, 1e-6, 1e6, True, False
    ),
}
PROMPT = 200  # tokens
PARITY = (8, 4, 64)  # problems, samples, tokens


class Mute:
    """A tokenizer for models that were never taught to stop, or to say anything."""

    stops: tuple[int, ...] = ()

    def decode_many(self, rows: Sequence[Any]) -> list[str]:
        """No text for any row."""
        return [""] * len(rows)

    def special(self, text: str) -> None:
        """It has no special tokens."""


def main() -> None:
    """Measure and print JSON, one line a measurement."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--shapes", default="0.5B,1.5B")
    ask.add_argument("--device", default="cuda")
    ask.add_argument("--problems", type=int, default=64)
    ask.add_argument("--samples", type=int, default=8)
    ask.add_argument("--tokens", type=int, default=512)
    ask.add_argument("--repeats", type=int, default=3, help="behind one to warm up")
    ask.add_argument("--bandwidth", type=float, default=4.8e12, help="bytes/s; an H200's")
    ask.add_argument("--arithmetic", type=float, default=989e12, help="bf16 FLOP/s; an H200's")
    ask.add_argument("--peer-rows", type=int, default=512, help="of transformers.generate at once")
    asked = ask.parse_args()
    for name in asked.shapes.split(","):
        model = random(SHAPES[name], asked.device)
        for precision in ("float32", "bfloat16"):
            say(name, asked, "parity", parity(model, precision))
        model.compute = torch.bfloat16
        say(name, asked, "decode", decode(model, asked))
        say(name, asked, "update", update(model, asked))
        del model


def say(shape: str, asked: argparse.Namespace, what: str, found: dict[str, Any]) -> None:
    """Print one measurement."""
    where = name_of(choose(asked.device, 0))
    line = {"shape": shape, "device": where, "torch": torch.__version__, "what": what, **found}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def random(shape: Architecture, device: str) -> Decoder:
    """A model with random weights."""
    model = Decoder(shape)
    initialise(model, seed=1)
    place(model, device)
    return model


def ask_for(model: Decoder, problems: int, samples: int, tokens: int, turn: int) -> list[Group]:
    """Generate groups behind random prompts; every other completion is rewarded."""
    rng = np.random.default_rng(turn)
    prompts = rng.integers(0, model.architecture.vocab_size, (problems, PROMPT)).tolist()
    seeds = [[seed_for(turn, 0, str(p), i, "gpu") for i in range(samples)] for p in range(problems)]
    engine = SlotEngine(model, Mute(), problems * samples)
    found = engine.generate(prompts, Sampling(1.0, 1.0, tokens), seeds)
    return [
        Group(
            Problem(str(p), (), ("0",), str(p), "random", ""),
            tuple(prompt),
            tuple(
                Rollout(i, c, Verification(None, Status.OK), Score(i % 2.0, None))
                for i, c in enumerate(own)
            ),
        )
        for p, (prompt, own) in enumerate(zip(prompts, found, strict=True))
    ]


def parity(model: Decoder, precision: str) -> dict[str, Any]:
    """How far the learner's log-probabilities lie from those of the engine, in nats."""
    model.compute = None if precision == "float32" else torch.bfloat16
    batch = make_batch(ask_for(model, *PARITY, 0), "group_std")
    with torch.no_grad():
        scored_BC = completion_logprobs(model, batch.rows, 1.0)
    apart = (scored_BC - batch.rollout_logprobs_BC).abs()[batch.mask_BC]
    model.compute = None
    return {"precision": precision, "tokens": apart.numel(), "max_nats": float(apart.max()),
            "mean_nats": float(apart.mean())}  # fmt: skip


def timed(work: Callable[[int], Any], model: Decoder, repeats: int) -> tuple[list[float], float]:
    """Seconds of each repeat but the first, and peak GB of GPU memory."""
    gpu, seconds = model.head.is_cuda, []
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    for turn in range(repeats + 1):
        if gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        work(turn)
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 1e9 if gpu else 0.0
    return seconds[1:], peak


def decode(model: Decoder, asked: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second, beside the bandwidth that they need at least and ``transformers``."""
    work = (asked.problems, asked.samples, asked.tokens)
    ours, peak = timed(lambda turn: ask_for(model, *work, turn), model, asked.repeats)
    a, rows = model.architecture, asked.problems * asked.samples
    kept = 2 * a.layers * a.kv_heads * a.head_dim * 2
    per_step = 2 * (parameters(a) - (0 if a.tied else a.vocab_size * a.hidden_size))
    filled = sum(PROMPT + t for t in range(asked.tokens))
    floor = (asked.tokens * per_step + rows * filled * kept) / asked.bandwidth
    theirs, peer_peak = timed(generate_of(model, asked), model, asked.repeats)
    tokens, seconds = rows * asked.tokens, statistics.median(ours)
    peer = statistics.median(theirs)
    return {
        "rows": rows, "tokens_per_second": tokens / seconds, "seconds": ours, "peak_gb": peak,
        "share_of_bandwidth": floor / seconds, "peer": "transformers.generate",
        "peer_tokens_per_second": tokens / peer, "peer_seconds": theirs, "peer_peak_gb": peer_peak,
        "ratio": peer / seconds,
    }  # fmt: skip


def generate_of(model: Decoder, asked: argparse.Namespace) -> Callable[[int], Any]:
    """The same completions by ``transformers``, from the same weights in bfloat16."""
    from transformers import AutoConfig, AutoModelForCausalLM

    a, device = model.architecture, model.head.device
    config = AutoConfig.for_model(**a.to_hf())
    theirs = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).to(device).eval()
    theirs.load_state_dict(model.state_dict(), strict=not a.tied)

    def work(turn: int) -> None:
        rng = np.random.default_rng(turn)
        prompts = torch.tensor(rng.integers(0, a.vocab_size, (asked.problems, PROMPT)))
        rows = prompts.repeat_interleave(asked.samples, 0).to(device)
        for some in rows.split(asked.peer_rows):
            theirs.generate(
                some, attention_mask=torch.ones_like(some), do_sample=True, temperature=1.0,
                top_k=0, top_p=1.0, max_new_tokens=asked.tokens, min_new_tokens=asked.tokens,
                pad_token_id=0, eos_token_id=None,
            )  # fmt: skip

    return work


def update(model: Decoder, asked: argparse.Namespace) -> dict[str, Any]:
    """Learnt tokens per second, beside the arithmetic that they need at least."""
    groups = ask_for(model, asked.problems, asked.samples, asked.tokens, 0)
    batch = make_batch(groups, "group_std")
    how = OptimizerConfig(minibatches=min(8, asked.problems), learning_rate=1e-6)
    found: dict[str, Any] = {}
    for checkpointing in (False, True):
        own = replace(how, checkpointing=checkpointing)
        learner = Learner(copy.deepcopy(model), LossConfig(), own, 1.0, asked.tokens)
        try:
            seconds, peak = timed(
                lambda turn, one=learner: one.step(batch, np.random.default_rng(turn)),
                model, asked.repeats,
            )  # fmt: skip
        except torch.OutOfMemoryError:
            found["checkpointed" if checkpointing else "plain"] = "out of memory"
            continue
        middle = statistics.median(seconds)
        found["checkpointed" if checkpointing else "plain"] = {
            "tokens_per_second": float(batch.mask_BC.sum()) / middle, "seconds": seconds,
            "share_of_arithmetic": work_of(model.architecture, batch) / asked.arithmetic / middle,
            "peak_gb": peak,
        }  # fmt: skip
        del learner
    return found


def work_of(a: Architecture, batch: Batch) -> float:
    """Multiplications and additions of one pass forward and back over a batch, each prompt once."""
    rows = batch.rows
    prompts, completions = rows.prompts_P, rows.completions_B
    head = a.vocab_size * a.hidden_size
    tokens, scored = float(prompts.sum() + completions.sum()), float(completions.sum())
    own = prompts[rows.prompt_B]
    pairs = float((prompts**2 / 2).sum() + (completions * own + completions**2 / 2).sum())
    layers = parameters(a) - head * (1 if a.tied else 2)
    return 6.0 * (layers * tokens + head * scored) + 12.0 * a.layers * a.heads * a.head_dim * pairs


if __name__ == "__main__":
    main()
