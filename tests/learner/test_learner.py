import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import ARCHITECTURES, make_group, random_model, rewarded, sampled_groups
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Score
from rlvr_placebo.learner.batch import make_batch
from rlvr_placebo.learner.learner import Learner, OptimizerConfig
from rlvr_placebo.learner.losses import LossConfig
from rlvr_placebo.model.logprobs import completion_logprobs

QUICK = OptimizerConfig(learning_rate=1e-3, minibatches=1)


def learn(model, batch, optimizer=QUICK, loss=None, temperature=1.0):
    learner = Learner(model, loss or LossConfig(), optimizer, temperature, 40)
    return learner.step(batch, np.random.default_rng(0))


def gradient(model, batch, loss, micro_tokens):
    still = replace(QUICK, name="sgd", learning_rate=0.0, max_grad_norm=0.0)
    learner = Learner(model, loss, replace(still, micro_tokens=micro_tokens), 1.0, 40)
    learner.update(batch)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("aggregation", ["sequence_mean", "token_mean", "constant"])
def test_micro_batches_do_not_change_the_gradient(architecture, shipped, aggregation):
    model = random_model(architecture)
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    loss = LossConfig(aggregation=aggregation)
    whole = gradient(model, batch, loss, 10**9)
    assert whole.norm() > 0
    for tokens in (1, 200, 700):
        split = gradient(model, batch, loss, tokens)
        assert (split - whole).norm() / whole.norm() < 1e-5


def test_with_one_update_clip_on_and_off_give_the_same_weights(shipped):
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    twin = copy.deepcopy(model)
    learn(model, batch)
    learn(twin, batch, loss=LossConfig(clip_low=None, clip_high=None))
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
    # with many updates and a narrow band the two must part
    many = replace(QUICK, minibatches=4, epochs=3)
    narrow = learn(model, batch, many, LossConfig(clip_low=0.01, clip_high=0.01))
    learn(twin, batch, many, LossConfig(clip_low=None, clip_high=None))
    assert narrow["clip_ratio/reachable"] == 1.0
    assert narrow["clip_ratio/high_mean"] + narrow["clip_ratio/low_mean"] > 0
    assert any(
        not torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True)
    )


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, -3.7, None])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_constant_reward_leaves_every_weight_untouched(shipped, reward, name):
    model = random_model(ARCHITECTURES["qwen2"])
    groups = sampled_groups(shipped, model)
    constant = [rewarded(g, [Score(reward, None)] * len(g.rollouts)) for g in groups]
    before = copy.deepcopy(model.state_dict())
    learn(model, make_batch(constant, "group_std"), replace(QUICK, minibatches=4, name=name))
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key]), key


def test_the_first_update_has_ratio_one(architecture, shipped):
    model = random_model(architecture)
    for temperature in (1.0, 0.7):
        groups = sampled_groups(shipped, model, temperature=temperature)
        batch = make_batch(groups, "group_std")
        metrics = learn(copy.deepcopy(model), batch, temperature=temperature)
        assert metrics["first_update/max_ratio_deviation"] <= 1e-4
        assert metrics["mismatch/max_logprob_difference"] <= 1e-4
        assert metrics["clip_ratio/reachable"] == 0.0
    wrong = learn(copy.deepcopy(model), batch, temperature=1.0)  # sampled at 0.7
    assert wrong["first_update/max_ratio_deviation"] > 0.01


def test_truncated_importance_sampling_weighs_tokens_by_what_the_learner_gives_them(shipped):
    """An engine that is off by 0.1 nats: its ratio is the learner's own, the weight e^±0.1, cut."""
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    signs = torch.where(torch.arange(batch.mask_BC.shape[1]) % 2 == 0, 0.1, -0.1)
    off = replace(batch, rollout_logprobs_BC=batch.rollout_logprobs_BC - signs)
    many = replace(QUICK, minibatches=2, epochs=2)
    plain = learn(copy.deepcopy(model), off, many)
    assert plain["first_update/max_ratio_deviation"] > 0.09
    assert "tis/mean_weight" not in plain
    for cap, capped in ((1e6, 0.0), (1.0, 0.5)):
        found = learn(copy.deepcopy(model), off, many, LossConfig(tis_cap=cap))
        assert found["first_update/max_ratio_deviation"] < 1e-4
        assert found["mismatch/max_logprob_difference"] == pytest.approx(0.1, abs=1e-3)
        assert found["tis/capped"] == pytest.approx(capped, abs=0.03)
        high = min(cap, math.exp(0.1))
        assert found["tis/mean_weight"] == pytest.approx((high + math.exp(-0.1)) / 2, abs=0.01)
    # Where the engine is right nothing changes, and micro-batches change nothing either.
    same = learn(one := copy.deepcopy(model), batch, many, LossConfig(tis_cap=2.0))
    learn(two := copy.deepcopy(model), batch, many)
    learn(three := copy.deepcopy(model), off, replace(many, micro_tokens=300),
          LossConfig(tis_cap=2.0))  # fmt: skip
    learn(four := copy.deepcopy(model), off, many, LossConfig(tis_cap=2.0))
    assert same["tis/mean_weight"] == pytest.approx(1.0, abs=1e-4)
    for a, b in ((one, two), (three, four)):
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-4)


def test_kl_needs_the_untrained_model_and_pulls_towards_it(shipped):
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    free, held = copy.deepcopy(model), copy.deepcopy(model)
    many = replace(QUICK, minibatches=2, epochs=8)
    learn(free, batch, many)
    metrics = learn(held, batch, many, LossConfig(kl=5.0))
    assert metrics["kl"] > 0

    @torch.no_grad()
    def divergence(trained):
        """KL from the untrained model on the batch's tokens (the k3 estimator, summed)."""
        d = completion_logprobs(model, batch.rows, 1.0) - completion_logprobs(
            trained, batch.rows, 1.0
        )
        return float((d.exp() - d - 1).sum())

    assert divergence(held) < 0.5 * divergence(free)
    assert Learner(model, LossConfig(), QUICK, 1.0, 40).reference is None


def test_minibatches_hold_every_row_once_and_groups_together(shipped):
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model, 5, 4), "group_std")
    for count in (1, 2, 5, 7):
        parts = list(batch.minibatches(count, np.random.default_rng(1)))
        assert len(parts) == count
        assert sum(map(len, parts)) == len(batch)
        seen = torch.cat([p.advantages_B for p in parts]).sort().values
        assert torch.equal(seen, batch.advantages_B.sort().values)
    whole_groups = list(batch.minibatches(5, np.random.default_rng(1)))
    assert all(len(p.rows.prompts_P) == 1 for p in whole_groups)


def test_micro_batches_respect_their_budget(shipped):
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    for budget in (1, 100, 300, 10**6):
        parts = list(batch.microbatches(budget))
        assert sum(map(len, parts)) == len(batch)
        sizes = [int(p.rows.prompts_P.sum() + p.rows.completions_B.sum()) for p in parts]
        assert all(len(p) == 1 or n <= budget for p, n in zip(parts, sizes, strict=True))


def test_batch_by_hand():
    group = make_group(["a", "b", "c"])  # 2, 3 and 4 tokens after a prompt of 3
    scored = rewarded(group, [Score(1.0, True), Score(0.0, False), Score(None, None)])
    batch = make_batch([scored], "group_mean")
    assert batch.rows.prompts_PT.tolist() == [[1, 2, 3]]
    assert batch.rows.prompt_B.tolist() == [0, 0, 0]
    assert batch.rows.completions_BC.tolist() == [[0, 1, 0, 0], [0, 1, 2, 0], [0, 1, 2, 3]]
    assert batch.rows.completions_B.tolist() == [2, 3, 4]
    assert batch.mask_BC.sum(-1).tolist() == [2, 3, 4]
    assert batch.advantages_B.tolist() == [0.5, -0.5, 0.0]


def test_masked_tokens_do_not_train(shipped):
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    masked = replace(batch, mask_BC=torch.zeros_like(batch.mask_BC))
    before = copy.deepcopy(model.state_dict())
    learn(model, masked)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_noise_in_the_place_of_gradients_has_their_norms(shipped):
    """Plain gradient descent: every parameter moves as far, and elsewhere; repeatably."""
    start = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, start), "group_std")
    plain = replace(QUICK, name="sgd", learning_rate=0.1, max_grad_norm=0.0)
    models = [copy.deepcopy(start) for _ in range(3)]
    for model, noise in zip(models, (False, True, True), strict=True):
        learn(model, batch, replace(plain, noise=noise))
    weights = [[p.detach() for p in model.parameters()] for model in (start, *models)]
    rows = zip(*weights, strict=True)
    for before, true, random, again in rows:
        assert torch.equal(random, again)
        moved, drifted = true - before, random - before
        assert float(drifted.norm()) == pytest.approx(float(moved.norm()), rel=1e-3, abs=1e-7)
        if moved.norm() > 0 and moved.numel() > 100:
            cosine = (moved * drifted).sum() / moved.norm() / drifted.norm()
            assert abs(float(cosine)) < 0.5


def test_a_gradient_that_is_not_finite_stops_the_run(shipped):
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    with torch.no_grad():
        model.model.norm.weight[0] = torch.inf
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(PlaceboError, match="gradient is not finite"):
        learn(model, batch)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_state_comes_back(shipped):
    model = random_model(ARCHITECTURES["qwen2"])
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    config, loss = replace(QUICK, minibatches=2), LossConfig(kl=0.1)
    one = Learner(model, loss, config, 1.0, 40)
    one.step(batch, np.random.default_rng(0))
    state = {k: v.clone() for k, v in one.state().items()}
    two = Learner(random_model(ARCHITECTURES["qwen2"]), loss, config, 1.0, 40)
    two.load_state(state)
    for learner in (one, two):
        learner.step(batch, np.random.default_rng(1))
    assert one.updates_done == two.updates_done == 4
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("minibatches", [1, 2, 4])
def test_completions_without_advantage_leave_the_update_and_change_nothing(shipped, minibatches):
    model = random_model(ARCHITECTURES["qwen2"])
    groups = sampled_groups(shipped, model, 6, 4)
    flat = [rewarded(g, [Score(1.0, None)] * 4) for g in groups[:4]]
    batch = make_batch([flat[0], groups[4], *flat[1:], groups[5]], "group_std")
    twin = copy.deepcopy(model)
    several = replace(QUICK, minibatches=minibatches)
    learner = Learner(model, LossConfig(), several, 1.0, 40)
    whole = Learner(twin, LossConfig(), several, 1.0, 40)
    whole.reference, whole.loss_config = copy.deepcopy(model), LossConfig(kl=0.0)  # drops nothing
    ours = learner.step(batch, np.random.default_rng(2))
    theirs = whole.step(batch, np.random.default_rng(2))
    assert learner.updates_done == whole.updates_done == minibatches
    for key in ("loss", "grad_norm", "tokens", "clip_ratio/high_mean"):
        assert ours[key] == pytest.approx(theirs[key], rel=1e-5, abs=1e-9), key
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for name in ("exp_avg", "step"):
        for a, b in zip(model.parameters(), twin.parameters(), strict=True):
            left, right = learner.optimizer.state[a][name], whole.optimizer.state[b][name]
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-7)
