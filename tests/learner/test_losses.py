import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_placebo.learner.losses import (
    AGGREGATIONS,
    FIRST_TOKEN,
    LossConfig,
    TokenBatch,
    denominator,
    policy_loss,
)

GRPO = LossConfig()
OFF = replace(GRPO, clip_low=None, clip_high=None)


def one_token(ratio, advantage, config=GRPO, **more):
    """Loss and gradient (with respect to the log-probability) of a single token."""
    logprob = torch.tensor([[math.log(ratio)]], requires_grad=True)
    batch = TokenBatch(
        torch.zeros(1, 1), torch.tensor([advantage]), torch.ones(1, 1).bool(), **more
    )
    loss, sums = policy_loss(logprob, batch, 1.0, config)
    loss.backward()
    return loss.item(), logprob.grad.item(), sums


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 1.0, -1.0, -1.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.3, 1.0, -1.2, 0.0),  # above the band, positive: clipped
        (1.3, -1.0, 1.3, 1.3),  # above the band, negative: not
        (0.7, -1.0, 0.8, 0.0),  # below the band, negative: clipped
        (0.7, 1.0, -0.7, -0.7),  # below the band, positive: not
    ],
)
def test_clipping_by_hand(ratio, advantage, loss, gradient):
    got, slope, _ = one_token(ratio, advantage)
    assert got == pytest.approx(loss, abs=1e-6)
    assert slope == pytest.approx(gradient, abs=1e-6)


@pytest.mark.parametrize(("ratio", "advantage"), [(1.3, 1.0), (0.7, -1.0), (9.0, 1.0), (0.01, -2)])
def test_off_is_the_ratio_itself(ratio, advantage):
    loss, gradient, sums = one_token(ratio, float(advantage), OFF)
    assert loss == pytest.approx(-ratio * advantage, rel=1e-5)
    assert gradient == pytest.approx(-ratio * advantage, rel=1e-5)
    assert float(sums["high_bound"]) == float(sums["low_bound"]) == 0


def test_one_sided_clips():
    high_only = replace(GRPO, clip_low=None)
    assert one_token(1.3, 1.0, high_only)[1] == 0
    assert one_token(0.7, -1.0, high_only)[1] == pytest.approx(0.7)
    low_only = replace(GRPO, clip_high=None)
    assert one_token(1.3, 1.0, low_only)[1] == pytest.approx(-1.3)
    assert one_token(0.7, -1.0, low_only)[1] == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "counted"),
    [(1.3, 1.0, "high_bound"), (1.3, -1.0, "high_outside"), (0.7, -1.0, "low_bound"),
     (0.7, 1.0, "low_outside"), (1.1, 1.0, None), (1.3, 0.0, None)],
)  # fmt: skip
def test_a_clip_is_counted_where_it_changed_a_gradient(ratio, advantage, counted):
    _, gradient, sums = one_token(ratio, advantage)
    for name in ("high_bound", "high_outside", "low_bound", "low_outside"):
        assert float(sums[name]) == (name == counted)
    if counted and counted.endswith("bound"):
        assert gradient == 0
        assert one_token(ratio, advantage, OFF)[1] != 0


def test_first_tokens_are_counted_on_their_own():
    """Two completions of two tokens; the second's last token lies above the band, as a first."""
    ratios = torch.tensor([[1.3, 1.0], [0.7, 1.3]])
    batch = TokenBatch(torch.zeros(2, 2), torch.tensor([1.0, -1.0]), torch.ones(2, 2).bool())
    _, sums = policy_loss(ratios.log(), batch, 2.0, GRPO)
    counts = {name: float(sums[f"first_token_{name}"]) for name in FIRST_TOKEN}
    kl = sum(r - 1 - math.log(r) for r in (1.3, 0.7))
    expected = {"scored": 2, "positive": 1, "negative": 1, "high_bound": 1, "low_bound": 1}
    assert counts == pytest.approx({**expected, "kl_rollout": kl}, rel=1e-5)
    assert float(sums["high_outside"]) == 1
    assert float(sums["max_first_token_logprob_difference"]) == pytest.approx(-math.log(0.7))


def test_kl_by_hand():
    reference = torch.tensor([[math.log(0.5)]])
    config = replace(OFF, kl=0.1)
    loss, _, _ = one_token(1.0, 0.0, config, reference_logprobs_BC=reference)
    d = math.log(0.5)
    assert loss == pytest.approx(0.1 * (math.exp(d) - d - 1), abs=1e-7)
    at_reference = one_token(1.0, 0.0, config, reference_logprobs_BC=torch.zeros(1, 1))
    assert at_reference[:2] == (0.0, 0.0)


def test_proximal_policy_by_hand():
    # current 1.2 × rollout, proximal 1.1 × rollout: ratio 1.2/1.1 inside the band, weight 1.1
    proximal = torch.tensor([[math.log(1.1)]])
    loss, _, _ = one_token(1.2, 1.0, GRPO, proximal_logprobs_BC=proximal)
    assert loss == pytest.approx(-1.2, rel=1e-6)
    loss, gradient, _ = one_token(1.5, 1.0, GRPO, proximal_logprobs_BC=proximal)
    assert loss == pytest.approx(-1.1 * 1.2, rel=1e-6)
    assert gradient == 0


def test_sequence_ratio_by_hand():
    logprobs = torch.tensor([[0.1, 0.3, 9.0]])
    mask = torch.tensor([[True, True, False]])
    batch = TokenBatch(torch.zeros(1, 3), torch.tensor([1.0]), mask)
    loss, _ = policy_loss(logprobs, batch, 1.0, replace(OFF, ratio="sequence"))
    assert loss.item() == pytest.approx(-math.exp(0.2), rel=1e-6)


def test_aggregations_by_hand():
    mask = torch.tensor([[True, False, False], [True, True, True]])
    batch = TokenBatch(torch.zeros(2, 3), torch.tensor([1.0, -2.0]), mask)
    expected = {
        "sequence_mean": (-1 + 2) / 2,
        "token_mean": (-1 + 2 * 3) / 4,
        "constant": (-1 + 2 * 3) / (2 * 10),
    }
    for aggregation in AGGREGATIONS:
        divisor = denominator(mask, aggregation, max_tokens=10)
        config = replace(GRPO, aggregation=aggregation)
        loss, _ = policy_loss(torch.zeros(2, 3), batch, divisor, config)
        assert loss.item() == pytest.approx(expected[aggregation])


def test_an_empty_completion_harms_nothing():
    mask = torch.zeros(2, 3).bool()
    batch = TokenBatch(torch.zeros(2, 3), torch.tensor([1.0, -2.0]), mask)
    for aggregation in AGGREGATIONS:
        config = replace(GRPO, aggregation=aggregation)
        loss, _ = policy_loss(torch.zeros(2, 3), batch, denominator(mask, aggregation, 5), config)
        assert loss.item() == 0


@settings(max_examples=60)
@given(
    st.integers(0, 2**31), st.sampled_from(AGGREGATIONS), st.sampled_from(["token", "sequence"]),
    st.sampled_from([None, 0.2]), st.sampled_from([None, 0.28]), st.sampled_from([0.0, 0.05]),
    st.integers(2, 9),
)  # fmt: skip
def test_any_split_gives_the_same_gradient(seed, aggregation, ratio, low, high, kl, rows):
    g = torch.Generator().manual_seed(seed)
    config = LossConfig("group_std", aggregation, ratio, low, high, kl)
    logprobs = (torch.randn(rows, 7, generator=g, dtype=torch.float64) * 0.3).requires_grad_()
    lengths = torch.randint(1, 8, (rows,), generator=g)
    batch = TokenBatch(
        torch.randn(rows, 7, generator=g, dtype=torch.float64) * 0.3,
        torch.randn(rows, generator=g, dtype=torch.float64),
        torch.arange(7) < lengths[:, None],
        torch.randn(rows, 7, generator=g, dtype=torch.float64) * 0.3 if kl else None,
    )
    divisor = denominator(batch.mask_BC, aggregation, 7)
    policy_loss(logprobs, batch, divisor, config)[0].backward()
    whole = logprobs.grad.clone()
    logprobs.grad = None
    cut = int(torch.randint(1, rows, (1,), generator=g))
    for part in (slice(0, cut), slice(cut, rows)):
        reference = batch.reference_logprobs_BC
        piece = TokenBatch(
            batch.rollout_logprobs_BC[part], batch.advantages_B[part], batch.mask_BC[part],
            None if reference is None else reference[part],
        )  # fmt: skip
        policy_loss(logprobs[part], piece, divisor, config)[0].backward()
    torch.testing.assert_close(logprobs.grad, whole, rtol=1e-9, atol=1e-12)
