"""bf16 with float32 master weights: near to float32, and the same in engine and learner."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from conftest import ARCHITECTURES, random_model, rows_of
from rlvr_placebo.model.checkpoint import save
from rlvr_placebo.model.logprobs import completion_logprobs
from rlvr_placebo.model.packing import TokenRows
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.protocol import Sampling

ROUNDING = 2.0**-8  # of one bf16 number


def tokens(rows=3, length=40):
    return torch.randint(1, 640, (rows, length), generator=torch.Generator().manual_seed(0))


def logits(model):
    return model.logits(model(tokens(), torch.arange(40)[None]))


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_logits_are_near_those_of_transformers_in_bf16(kind, tmp_path, shipped):
    model = random_model(ARCHITECTURES[kind])
    save(model, shipped.tokenizer, tmp_path / "m")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.bfloat16)
    with torch.no_grad():
        exact = logits(model)
        model.compute = torch.bfloat16
        ours, wanted = logits(model), theirs(tokens()).logits.float()
        assert ours.dtype == torch.float32
        ours_off, theirs_off = ((x - exact).square().mean().sqrt() for x in (ours, wanted))
        assert 0 < ours_off < 1.3 * theirs_off + 1e-3  # no further from the truth than theirs
        with model.at_rest():
            assert torch.equal(logits(model), ours)
        model.compute = None
        assert torch.equal(logits(model), exact)


def test_the_learner_scores_what_the_engine_sampled_within_rounding(shipped):
    model = copy.deepcopy(shipped.model)
    model.compute = torch.bfloat16
    prompts = [shipped.tokenizer.encode("Ada has 12 pens. How many?"), [5, 6, 7]]
    engine = NativeEngine(model, shipped.tokenizer)
    groups = engine.generate(prompts, Sampling(1.0, 1.0, 24), [[1, 2, 3, 4], [5, 6, 7, 8]])
    flat = [c for group in groups for c in group]
    texts = [[c.tokens.tolist() for c in group] for group in groups]
    packed = rows_of(list(zip(prompts, texts, strict=True)))
    scored = completion_logprobs(model, packed, 1.0)
    differences = torch.cat([
        (scored[i, : len(c)].detach() - torch.tensor(c.logprobs)).abs() for i, c in enumerate(flat)
    ])  # fmt: skip
    with torch.no_grad():
        largest = float(logits(model).abs().max())  # two logits of this size, rounded twice
    assert 0 < float(differences.max()) < 4 * ROUNDING * largest
    assert float(differences.mean()) < 4 * ROUNDING
    scored.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


def test_gradients_are_near_those_of_float32(shipped):
    model = copy.deepcopy(shipped.model)
    rows = TokenRows(tokens(2, 9), torch.tensor([9, 7]), tokens(4, 12), torch.tensor([12, 5, 9, 1]),
                     torch.tensor([0, 0, 1, 1]))  # fmt: skip

    def gradient():
        model.zero_grad()
        completion_logprobs(model, rows, 1.0).mean().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    exact = gradient()
    model.compute = torch.bfloat16
    near = gradient()
    assert torch.nn.functional.cosine_similarity(exact, near, dim=0) > 0.999
    assert float((near.norm() / exact.norm() - 1).abs()) < 0.02


def test_small_updates_are_not_lost():
    """A step of 1e-4 changes no bf16 number near 1; the master weights take it all the same."""
    model = random_model(ARCHITECTURES["qwen2"])
    model.compute = torch.bfloat16
    weight = model.model.norm.weight
    optimizer = torch.optim.SGD([weight], lr=1e-4)
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert torch.allclose(weight, torch.full_like(weight, 1 - 3e-4))
