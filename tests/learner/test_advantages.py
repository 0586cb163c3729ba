import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_placebo.learner.advantages import ADVANTAGES, EPSILON, advantages


def test_by_hand():
    rewards = [1, 0, 0, 0]
    np.testing.assert_allclose(advantages(rewards, "group_mean"), [0.75, -0.25, -0.25, -0.25])
    std = np.sqrt((0.75**2 + 3 * 0.25**2) / 3)
    np.testing.assert_allclose(
        advantages(rewards, "group_std"), np.array([0.75, -0.25, -0.25, -0.25]) / (std + EPSILON)
    )
    np.testing.assert_allclose(advantages(rewards, "leave_one_out"), [1, -1 / 3, -1 / 3, -1 / 3])


def test_group_std_is_trls(request):
    torch = pytest.importorskip("torch")
    rewards = torch.tensor([0.3, 1.0, 0.0, 0.7])
    expected = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    np.testing.assert_allclose(advantages(rewards.tolist(), "group_std"), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ADVANTAGES)
@pytest.mark.parametrize("rewards", [[0.1] * 16, [1.0] * 4, [0.0], [None, None], [None, 0.7, None],
                                     [0.1, None, 0.1], [0.1 + 0.2, 0.3, 0.3]])  # fmt: skip
def test_nothing_to_compare_is_exactly_zero(kind, rewards):
    assert not advantages(rewards, kind).any()


@pytest.mark.parametrize("kind", ADVANTAGES)
def test_unknown_leaves_mean_and_deviation(kind):
    with_unknown = advantages([1.0, None, 0.0, 0.0, None], kind)
    without = advantages([1.0, 0.0, 0.0], kind)
    np.testing.assert_array_equal(with_unknown[[0, 2, 3]], without)
    assert (with_unknown[[1, 4]] == 0).all()


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20), st.sampled_from(sorted(ADVANTAGES)))
def test_advantages_sum_to_zero_and_keep_the_order(rewards, kind):
    a = advantages(rewards, kind)
    assert abs(a.sum()) < 1e-6 * max(1, np.abs(a).sum())
    order = np.argsort(rewards, kind="stable")
    assert (np.diff(a[order]) >= -1e-9).all()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.floats(-3, 3))
def test_a_shift_of_all_rewards_changes_nothing(rewards, shift):
    for kind in ("group_mean", "leave_one_out"):
        one, other = advantages(rewards, kind), advantages([r + shift for r in rewards], kind)
        np.testing.assert_allclose(one, other, atol=1e-9)
