"""The clipping laboratory: the twin against enumeration and symmetry, local drift in small."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_placebo.clipping import drift as drift_module
from rlvr_placebo.clipping.cells import CELLS, OFF
from rlvr_placebo.clipping.drift import Lab, estimate, local_drift, loss_of
from rlvr_placebo.clipping.twin import (
    Twin,
    drift,
    expected_gradient,
    predicted_gradient,
    step_for,
    table,
)
from rlvr_placebo.learner.losses import LossConfig
from rlvr_placebo.train.trial import prepare
from rlvr_placebo.train.watch import Silent

CLIPS = [name for name, cell in CELLS.items() if not cell.masked]


@pytest.mark.parametrize("cell", CLIPS)
@pytest.mark.parametrize(("theta", "share"), [(0.2, 0.7), (1.3, 0.7), (0.4, 0.5), (-1.2, 0.2)])
def test_the_bias_of_clipping_is_that_of_the_formula(cell, theta, share):
    """Every group of four answers and every vector of rewards, written down."""
    wanted = predicted_gradient(theta, share, 4, CELLS[cell])
    assert expected_gradient(theta, share, 4, CELLS[cell]) == pytest.approx(wanted, abs=1e-12)
    if cell == OFF:
        assert wanted == 0


def test_one_update_never_drifts():
    twin = Twin(updates=1, step=5.0)
    for cell in CELLS.values():
        found = drift(twin, cell, 50, masked=0.05)
        assert found.value == pytest.approx(0, abs=1e-12)
        assert found.binding == 0


@pytest.fixture(scope="module")
def known():
    """At 5 % binding, as a first simulation found."""
    return {
        row["share"]: {name: (d["value"], d["stderr"]) for name, d in row["drift"].items()}
        for row in table((0.3, 0.5, 0.7), (0.05,), 400)
    }


def test_clips_drift_towards_what_is_likelier_and_off_does_not(known):
    for sign, share in ((1, 0.7), (-1, 0.3)):
        found = {name: (sign * value, error) for name, (value, error) in known[share].items()}
        for name in (OFF, "random mask"):
            assert abs(found[name][0]) < 4 * found[name][1]
        assert found["both"][0] > 4 * found["both"][1]
        assert found["high only"][0] > 2 * found["both"][0]
        assert found["low only"][0] < -4 * found["low only"][1]


def test_drift_is_odd_around_one_half(known):
    for name in CELLS:
        value, error = known[0.5][name]
        assert abs(value) <= 4 * error + 1e-9
        low, high = known[0.3][name], known[0.7][name]
        assert low[0] + high[0] == pytest.approx(0, abs=4 * np.hypot(low[1], high[1]))


def test_the_learning_rate_is_found_by_how_often_clips_bind():
    twin = step_for(Twin(), 0.02)
    assert drift(twin, CELLS["both"], 200).binding == pytest.approx(0.02, abs=0.003)


def test_adam_drifts_without_a_clip():
    own = replace(step_for(Twin(share=0.9), 0.05), adam=True, step=0.1)
    found = drift(own, CELLS[OFF], 1000)
    assert abs(found.value) > 4 * found.stderr


def test_cells_are_objectives():
    assert loss_of(CELLS[OFF], 0.1) == LossConfig(clip_low=None, clip_high=None)
    both = loss_of(CELLS["both"], 0.1)
    assert (both.clip_low, both.clip_high) == pytest.approx((0.2, 0.2))
    assert loss_of(CELLS["log-symmetric"], 0.1).clip_low == pytest.approx(1 / 6)
    assert loss_of(CELLS["random mask"], 0.1) == LossConfig(
        clip_low=None, clip_high=None, masked=0.1
    )


def test_local_drift_is_repeatable_and_antithetic():
    lab = Lab("pocket/code-prior", batches=2, problems=2, samples=4, updates=2, learning_rate=0.5)
    rows = local_drift(lab, Silent())
    assert rows == local_drift(lab, Silent())
    assert len(rows) == 2 * len(CELLS)
    assert all(row["drift"] == pytest.approx(np.mean(row["both"])) for row in rows)
    found = estimate(rows)
    assert found["both"]["n"] == 2
    assert set(found) == set(CELLS)


def test_one_update_of_a_real_model_moves_nothing_to_first_order():
    """Rewards r and 1 − r pull by the same amount: what is left is second order in the step."""
    lab = Lab("pocket/code-prior", batches=1, problems=2, samples=4, updates=1, learning_rate=0.01)
    (row,) = [r for r in local_drift(lab, Silent()) if r["cell"] == "both"]
    assert abs(row["both"][0]) > 1e-6
    assert abs(row["drift"]) < 0.02 * abs(row["both"][0])


def test_tokens_are_left_out_at_random():
    lab = Lab("pocket/code-prior", problems=4, samples=8)
    batch, _ = drift_module._batch(prepare(drift_module._config(lab)), lab, 1)
    some = batch.left_out(0.3, np.random.default_rng(0))
    assert not (some.mask_BC & ~batch.mask_BC).any()
    assert float(some.mask_BC.sum() / batch.mask_BC.sum()) == pytest.approx(0.7, abs=0.06)
    assert torch.equal(some.advantages_B, batch.advantages_B)
