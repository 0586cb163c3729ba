"""Shared by all tests: one torch thread, no global randomness, small models made on the spot."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from fakes import BASE, CONTROLS, MODEL, FakeStudy
from rlvr_placebo.core.records import (
    Completion,
    Finish,
    Group,
    Problem,
    Rollout,
    Score,
    problem_id,
)
from rlvr_placebo.core.seeds import seed_for
from rlvr_placebo.model.architecture import Architecture, RopeScaling
from rlvr_placebo.model.checkpoint import Checkpoint, load
from rlvr_placebo.model.decoder import Decoder, initialise
from rlvr_placebo.model.packing import TokenRows
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import TEMPLATES, render
from rlvr_placebo.verdict.evidence import base_name
from rlvr_placebo.verify.judge import verify

torch.set_num_threads(1)
settings.register_profile("untimed", deadline=None)  # no test depends on how busy a machine is
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests neither see nor touch what the user has built."""
    os.environ["PLACEBO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


ARCHITECTURES = {
    "qwen2": Architecture(
        "qwen2", 640, 48, 3, 6, 2, 8, 96, 512, 1e-6, 10000.0, tied=True, attention_bias=False
    ),
    "llama": Architecture(
        "llama", 640, 48, 2, 4, 4, 12, 80, 512, 1e-5, 500000.0, tied=False, attention_bias=False
    ),
    "llama3": Architecture(
        "llama",
        640,
        48,
        2,
        4,
        2,
        12,
        80,
        512,
        1e-5,
        500.0,
        tied=True,
        attention_bias=False,
        rope_scaling=RopeScaling(8.0, 1.0, 4.0, 16),
    ),
    "mistral": Architecture(
        "mistral", 640, 48, 2, 4, 2, 12, 80, 512, 1e-5, 10000.0, tied=False, attention_bias=False
    ),
    "olmo2": Architecture(
        "olmo2", 640, 48, 2, 4, 2, 12, 80, 512, 1e-6, 10000.0, tied=False, attention_bias=False
    ),
    "qwen3": Architecture(
        "qwen3", 640, 48, 2, 4, 2, 16, 80, 512, 1e-6, 10000.0, tied=True, attention_bias=False
    ),
}


def random_model(architecture: Architecture, seed: int = 0) -> Decoder:
    """A decoder with weights large enough that its distributions are far from uniform."""
    model = Decoder(architecture)
    initialise(model, seed, std=0.15)
    return model


SMALL = {"vocab_size": 640, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
LLAMA_LIKE = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "intermediate_size": 80}  # fmt: skip
FOREIGN = {
    "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "gemma": {**LLAMA_LIKE, "head_dim": 12},
    "phi3": {**LLAMA_LIKE, "max_position_embeddings": 256},
    "qwen3_moe": {**LLAMA_LIKE, "head_dim": 12, "moe_intermediate_size": 32, "num_experts": 4,
                  "num_experts_per_tok": 2},
}  # fmt: skip


def rows_of(groups):
    """Token rows of ``[(prompt, [completion, …]), …]``."""
    completions = [c for _, group in groups for c in group]

    def padded(texts):
        longest = max(map(len, texts))
        return torch.tensor([t + [0] * (longest - len(t)) for t in texts])

    return TokenRows(
        padded([p for p, _ in groups]),
        torch.tensor([len(p) for p, _ in groups]),
        padded(completions),
        torch.tensor([len(c) for c in completions]),
        torch.tensor([i for i, (_, group) in enumerate(groups) for _ in group]),
    )


def make_foreign(kind, folder, tokenizer, **more):
    """A random checkpoint of another architecture, with the embedded families' tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    generator = torch.Generator().manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL, **more))
    for parameter in theirs.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15, generator=generator)
    theirs.save_pretrained(folder, max_shard_size="60KB")
    for path in tokenizer.files:
        (folder / path.name).write_bytes(path.read_bytes())
    return theirs.eval()


@pytest.fixture(params=sorted(ARCHITECTURES))
def architecture(request) -> Architecture:
    return ARCHITECTURES[request.param]


@pytest.fixture(scope="session")
def shipped() -> Checkpoint:
    """The shipped family; read-only (copy its model before training it)."""
    return load("pocket/code-prior")


@pytest.fixture
def family() -> Checkpoint:
    """The shipped family, freshly loaded: a test may train it."""
    return load("pocket/code-prior")


def make_group(texts: list[str], gold: str = "7", question: str = "How many?") -> Group:
    """A group whose completions have these texts (and made-up tokens)."""
    messages = ({"role": "user", "content": question},)
    problem = Problem(problem_id(messages, (gold,)), messages, (gold,), "c", "test", "test")
    rollouts = []
    for i, text in enumerate(texts):
        n = 2 + i % 3
        zeros = np.zeros(n, dtype=np.float32)
        completion = Completion(
            tokens=np.arange(n, dtype=np.int32),
            logprobs=zeros,
            entropies=zeros,
            loss_mask=np.ones(n, dtype=bool),
            versions=np.zeros(n, dtype=np.int32),
            certainties=zeros,
            finish=Finish.STOP,
            text=text,
            seed=i,
        )
        rollouts.append(Rollout(i, completion, verify(text, problem.golds)))
    return Group(problem, (1, 2, 3), tuple(rollouts))


def rewarded(group: Group, scores) -> Group:
    """The group with its scores."""
    pairs = zip(group.rollouts, scores, strict=True)
    return replace(group, rollouts=tuple(replace(r, score=s) for r, s in pairs))


def sampled_groups(checkpoint, model, problems=4, samples=6, rewards=None, temperature=1.0):
    """Groups really sampled from the model; reward = sum of token ids modulo 3 unless given."""
    pool = load_problems("pocket-train@50")[:problems]
    engine = NativeEngine(model, checkpoint.tokenizer)
    prompts = [render(p, TEMPLATES["plain"], checkpoint.tokenizer) for p in pool]
    seeds = [[seed_for(0, 1, p.id, i, "t") for i in range(samples)] for p in pool]
    groups = []
    for problem, prompt, completions in zip(
        pool, prompts, engine.generate(prompts, Sampling(temperature, 1.0, 40), seeds), strict=True
    ):
        scores = [Score(float(c.tokens.sum() % 3) if rewards is None else rewards, None)
                  for c in completions]  # fmt: skip
        rollouts = [
            Rollout(i, c, verify(c.text, problem.golds), s)
            for i, (c, s) in enumerate(zip(completions, scores, strict=True))
        ]
        groups.append(Group(problem, prompt, tuple(rollouts)))
    return groups


REFERENCE = Path(__file__).parents[2] / "shared" / "reference" / "paper_tables.json"


STUDY = """
name = "A <b>bold</b> study"
description = "Is 3 < 4 & so on?"
models = ["pocket/code-prior"]
rewards = ["ground_truth", "shuffle(ground_truth)", "constant(0.5)"]
seeds = [1, 2]
[settings]
steps = 3
problems = 4
labels.samples = 4
pool = "pocket-train@40"
rollout.samples = 4
evaluation.samples = 2
benchmarks = ["{benchmark}"]
"""


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The folder of a small study that is finished; to be read only."""
    from rlvr_placebo.study.local import Launch, run_study
    from rlvr_placebo.study.matrix import load_study

    folder = tmp_path_factory.mktemp("report")
    few = folder / "few.jsonl"
    few.write_text("".join(
        json.dumps({"problem": p.question, "answer": p.golds[0], "cluster": p.cluster}) + "\n"
        for p in load_problems("pocket-500")[:20]
    ))  # fmt: skip
    (folder / "study.toml").write_text(STUDY.format(benchmark=few))
    run_study(load_study(folder / "study.toml"), Launch(folder / "s", pause=0.1))
    return folder / "s"


@pytest.fixture(scope="session")
def paper():
    if not REFERENCE.exists():
        pytest.skip("the paper's tables are not beside this checkout")
    return json.loads(REFERENCE.read_text(encoding="utf-8"))


@pytest.fixture
def fake(tmp_path):
    return FakeStudy(tmp_path / "study")


@pytest.fixture
def whole(fake):
    """Ground truth 40 points above every control, at five seeds, with prompt sweeps."""
    for seed in range(1, 6):
        fake.run("ground_truth", seed, 0.8)
        for control in CONTROLS:
            fake.run(control, seed, BASE)
    fake.sweep([base_name(MODEL)])
    fake.sweep([f"ground_truth-s{seed}" for seed in range(1, 6)], 0.8)
    return fake
