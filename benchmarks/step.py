"""Seconds per training step, split into generation, scoring and update.

Run: ``python benchmarks/step.py [--steps 12] [--minibatches 8]``. One thread, the shipped
``pocket/code-prior``, 16 problems × 16 samples, true reward; the first two steps are left out
(allocations). Prints one JSON line with medians and the smallest and largest step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import torch

from rlvr_placebo.core.files import read_jsonl
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.settings import make_config

PARTS = ("generation", "scoring", "update", "writing")


def main() -> None:
    """Time one short run from its own timings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--minibatches", type=int, default=8)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = {
        "steps": chosen.steps,
        "optimizer.minibatches": chosen.minibatches,
        "evaluation.samples": 1,
        "evaluation.max_tokens": 8,
    }
    config = make_config("pocket/code-prior", "ground_truth", "pocket", settings)
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder) / "run")
        laps = [r for r in read_jsonl(Path(folder) / "run/timings.jsonl") if "update" in r][2:]
    result: dict[str, object] = {"steps": len(laps), "minibatches": chosen.minibatches}
    for part in (*PARTS, "step"):
        seconds = [sum(r[p] for p in PARTS) if part == "step" else r[part] for r in laps]
        spread = [min(seconds), statistics.median(seconds), max(seconds)]
        result[part] = [round(s, 4) for s in spread]
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
