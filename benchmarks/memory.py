"""Peak memory of one update at a vocabulary of 151,936, beside the naive way.

python benchmarks/memory.py [--rows 4] [--tokens 512]

Each side is a process of its own: a decoder with random weights (hidden size 128, 4 layers, tied
embeddings), one update (AdamW) on completions behind one prompt. Naive: all logits, log_softmax,
gather, in float32, as written down in a paper. Prints MB beyond what the process holds before the
update begins, and the whole.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch

from rlvr_placebo.learner.batch import Batch
from rlvr_placebo.learner.learner import Learner, OptimizerConfig
from rlvr_placebo.learner.losses import LossConfig
from rlvr_placebo.model import logprobs
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.decoder import Decoder, initialise
from rlvr_placebo.model.packing import TokenRows

ARCHITECTURE = Architecture(
    "qwen2", 151_936, 128, 4, 4, 2, 32, 352, 2048, 1e-6, 1e6, tied=True, attention_bias=True
)
PROMPT = 64


def naive(model: Decoder, rows: TokenRows, temperature: float) -> torch.Tensor:
    """All logits of all rows, prompt and completion side by side."""
    prompts = rows.prompts_PT[rows.prompt_B]
    tokens_BT = torch.cat((prompts, rows.completions_BC), 1)
    hidden = model(tokens_BT, torch.arange(tokens_BT.shape[1])[None])
    logps = torch.log_softmax(model.logits(hidden[:, :-1]) / temperature, -1)
    return logps.gather(-1, tokens_BT[:, 1:, None])[..., 0][:, prompts.shape[1] - 1 :]


def peak() -> float:
    """MB, the most that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(way: str, count: int, tokens: int, micro: int) -> dict[str, float]:
    """One update in this process."""
    torch.set_num_threads(1)
    model = Decoder(ARCHITECTURE)
    initialise(model, 1)
    rng = np.random.default_rng(0)
    drawn = torch.from_numpy(rng.integers(0, 151_936, (count, tokens)))
    rows = TokenRows(
        torch.ones((1, PROMPT), dtype=torch.long), torch.tensor([PROMPT]), drawn,
        torch.full((count,), tokens), torch.zeros(count, dtype=torch.long),
    )  # fmt: skip
    batch = Batch(
        rows, torch.full((count, tokens), -12.0), torch.ones((count, tokens), dtype=torch.bool),
        torch.linspace(-1, 1, count),
    )  # fmt: skip
    config = replace(OptimizerConfig(), minibatches=1, micro_tokens=micro)
    learner = Learner(model, LossConfig(), config, 1.0, tokens)
    if way == "naive":
        learner.step.__globals__["completion_logprobs"] = naive
    else:
        assert learner.step.__globals__["completion_logprobs"] is logprobs.completion_logprobs
    before, started = peak(), time.perf_counter()
    found = learner.step(batch, rng)
    return {"before_mb": before, "peak_mb": peak(), "seconds": time.perf_counter() - started,
            "grad_norm": found["grad_norm"]}  # fmt: skip


def main() -> None:
    """Run both sides and print one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--micro-tokens", type=int, default=2048)
    parser.add_argument("--way", choices=["naive", "ours"])
    given = parser.parse_args()
    if given.way:
        found = one(given.way, given.rows, given.tokens, given.micro_tokens)
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for way in ("naive", "ours"):
        command = [sys.executable, __file__, "--way", way, "--rows", str(given.rows), "--tokens",
                   str(given.tokens), "--micro-tokens", str(given.micro_tokens)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        sys.stdout.write(f"{way:6} {done.stdout}")


if __name__ == "__main__":
    main()
