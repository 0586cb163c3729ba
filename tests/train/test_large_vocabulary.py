"""A model of 28 M parameters, most of them its 151,936 tokens, on a CPU: memory, kill, resume."""

import json
import os
import signal
import subprocess
import sys

import pytest

from rlvr_placebo.core.rundir import open_run
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.checkpoint import save
from rlvr_placebo.model.decoder import Decoder, initialise
from rlvr_placebo.text.problems import load_problems

SHAPE = Architecture(
    "qwen2", 151936, 160, 12, 5, 1, 32, 448, 4096, 1e-6, 1e6, tied=True, attention_bias=False
)
RUN = """
import json, os, signal, sys
from pathlib import Path
from rlvr_placebo.model.process import settle
from rlvr_placebo.train import loop, trial
from rlvr_placebo.train.settings import make_config, parse_settings
settle()
model, few, out, kill, *more = sys.argv[1:]
settings = parse_settings([
    "steps=2", "problems=2", "rollout.samples=4", "rollout.max_tokens=12", "minibatches=2",
    "evaluation.samples=1", "evaluation.max_tokens=12", "benchmarks=" + few, "pool=" + few,
    "learning_rate=1e-4", *more,
])
config = make_config(model, "random(0.5)", "pocket", settings)
if kill:
    step, calls = loop.one_step, []
    def dies(*arguments):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments)
    loop.one_step = dies
stated = trial.prepare(config).needs.total
loop.run(config, Path(out), resume=True)
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps({"peak": peak, "stated": stated}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("large")
    model = Decoder(SHAPE)
    initialise(model, 0)
    save(model, request.getfixturevalue("shipped").tokenizer, folder / "m")
    assert 25e6 < sum(p.numel() for p in model.parameters()) < 35e6
    rows = [{"problem": p.question, "answer": p.golds[0], "cluster": p.cluster}
            for p in load_problems("pocket-500")[:4]]  # fmt: skip
    (folder / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def start(large, out, *more, kill=""):
    command = [sys.executable, "-c", RUN, str(large / "m"), str(large / "few.jsonl"), str(out),
               kill, *more]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=280, env=environment
    )


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("more", [(), ("lora.rank=8",)], ids=["full", "LoRA"])
def test_within_the_stated_memory_killed_and_resumed(large, tmp_path, more):
    one, other = tmp_path / "one", tmp_path / "other"
    done = start(large, one, *more)
    assert done.returncode == 0, done.stderr
    memory = json.loads(done.stdout.splitlines()[-1])
    assert memory["peak"] < memory["stated"], memory
    assert start(large, other, *more, kill="yes").returncode == -signal.SIGKILL
    assert start(large, other, *more).returncode == 0
    first, second = (open_run(out).read_json("result.json")["checksums"] for out in (one, other))
    assert first == second
