"""Studies that were never run: directories written as runs write them."""

import numpy as np
import pyarrow as pa

from rlvr_placebo.analysis.prompts import samples_file
from rlvr_placebo.core.files import write_json, write_table
from rlvr_placebo.core.rundir import SCHEMA, RunDirectory

MODEL = "pocket/fake"
DECODINGS = [{"temperature": 0.0, "samples": 1}, {"temperature": 1.0, "samples": 8}]
BASE = 0.4
CONTROLS = ("shuffle(ground_truth)", "format", "permuted_gold", "majority_vote")


class FakeStudy:
    """A study's folder as `placebo study run` leaves it, from the accuracies that it shall have."""

    def __init__(self, path, problems=60, ends=("given", "fresh")):
        self.path, self.problems, self.ends = path, problems, ends
        self.runs, self.rng = [], np.random.default_rng(0)
        path.mkdir()
        self.base = self.table(dict.fromkeys(ends, BASE))

    def contract(self, end, **changes):
        own = {"benchmark": end, "measurement": f"m-{end}", "prompt": "p", "template": "plain",
               "decodings": DECODINGS}  # fmt: skip
        return own | changes

    def table(self, accuracy, code=0.5):
        rows = []
        for end, share in accuracy.items():
            for p in range(self.problems):
                for how in DECODINGS:
                    for sample in range(how["samples"]):
                        right = bool(self.rng.random() < share)
                        rows.append({
                            "benchmark": end, "temperature": how["temperature"],
                            "problem_id": f"{end}{p}", "cluster": f"c{p // 2}", "sample": sample,
                            "gold": "7", "extracted": "7" if right else "8", "correct": right,
                            "code": bool(self.rng.random() < code),
                        })  # fmt: skip
        return pa.Table.from_pylist(rows)

    def run(self, name, seed, accuracy, finished=True, crashed=False, flat=0.0, **config):
        run = f"{name}-s{seed}"
        directory = RunDirectory(self.path / "runs" / run)
        (directory.path / "evaluations").mkdir(parents=True)
        (directory.path / "rollouts").mkdir()
        contracts = config.pop("contracts", [self.contract(end) for end in self.ends])
        document = {
            "model": MODEL, "model_digest": "d", "reward": name, "reward_name": name,
            "variant": "plain", "seed": seed, "steps": 2, "contracts": contracts,
            "trains_on_test": [], **config,
        }  # fmt: skip
        write_json(directory.path / "config.json", {"schema": SCHEMA, "config": document})
        write_table(directory.path / "evaluations/step-000000.parquet", self.base)
        directory.append("metrics.jsonl", {"kind": "evaluation", "step": 0, "contracts": contracts})
        directory.append("metrics.jsonl", {"kind": "step", "step": 1, "frac_reward_zero_std": flat})
        group = np.repeat(np.arange(8), 4)
        correct = self.rng.random(32) < 0.5
        rollouts = pa.table({"group": group, "reward": correct.astype(float), "correct": correct,
                             "cluster": [f"t{g}" for g in group]})  # fmt: skip
        write_table(directory.path / "rollouts/step-000001.parquet", rollouts)
        if finished:
            after = accuracy if isinstance(accuracy, dict) else dict.fromkeys(self.ends, accuracy)
            write_table(directory.path / "evaluations/step-000002.parquet", self.table(after))
            directory.finish({"final_checkpoint": "checkpoints/checkpoint-2"})
        self.runs.append((run, name, seed, crashed))
        return directory

    def sweep(self, names, accuracy=BASE):
        for name in names:
            directory = RunDirectory(self.path / "prompts" / name)
            directory.path.mkdir(parents=True)
            cells = [{"template": "plain", "temperature": t, "choice": {"value": accuracy}}
                     for t in (1.0, 0.0)]  # fmt: skip
            write_json(directory.path / "prompts.json", {"cells": cells})
            write_table(directory.path / samples_file("plain"), self.table({"dev": accuracy}))
            directory.finish({"document": "prompts.json"})

    def write(self):
        runs = [{"name": name, "model": MODEL, "reward": reward, "variant": "plain", "seed": seed,
                 "steps": 2} for name, reward, seed, _ in self.runs]  # fmt: skip
        document = {"schema": SCHEMA, "name": "fake", "description": "", "store": ".", "runs": runs}
        crashed = {name: "out of memory" for name, _, _, gone in self.runs if gone}
        write_json(self.path / "study.json", document | {"crashed": crashed})
        return self.path
