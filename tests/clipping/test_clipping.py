"""The clipping laboratory: the twin against enumeration and symmetry, local drift in small."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_placebo.clipping import drift as drift_module
from rlvr_placebo.clipping.cells import CELLS, OFF
from rlvr_placebo.clipping.drift import Lab, estimate, likelier, local_drift, loss_of
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
    assert loss_of(CELLS[OFF]) == LossConfig(clip_low=None, clip_high=None)
    both = loss_of(CELLS["both"])
    assert (both.clip_low, both.clip_high) == pytest.approx((0.2, 0.2))
    assert loss_of(CELLS["log-symmetric"]).clip_low == pytest.approx(1 / 6)
    assert loss_of(CELLS["random mask"]) == loss_of(CELLS[OFF])


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


def test_every_batch_is_written_by_the_checkpoint(monkeypatch):
    """The last cell of a batch leaves other weights behind: the next is not drawn from them."""
    lab = Lab("pocket/code-prior", batches=3, problems=2, samples=4, updates=2, learning_rate=0.5)
    rows = local_drift(lab, Silent())
    assert max(row["mismatch/max_logprob_difference"] for row in rows) < 1e-4
    batch = drift_module._batch
    monkeypatch.setattr(drift_module, "_batch", lambda trial, lab, number: batch(trial, lab, 2))
    alone = local_drift(replace(lab, batches=1), Silent())
    assert [row["entropy"] for row in alone] == [r["entropy"] for r in rows if r["batch"] == 2]
    with pytest.raises(RuntimeError, match=r"differ by 0\.5 nats"):
        drift_module._same_weights({"mismatch/max_logprob_difference": 0.5})


def test_the_marker_is_likelier_or_less_likely_than_every_other_opening(monkeypatch):
    trial = prepare(drift_module._config(Lab("pocket/code-prior")))
    panel, model = drift_module._panel(trial), trial.learner.model
    assert likelier(model, panel) == 1  # 29 % of answers open with it; the next has 14
    marker = int(panel.completions_BC[0, 0])
    for share, side in ((0.3, 1), (0.2, 0), (0.06, -1), (0.01, -1)):
        size = model.architecture.vocab_size
        shares = torch.full((size,), (1 - share - 0.36) / (size - 4))
        others = [token for token in range(5) if token != marker][:3]
        shares[others] = torch.tensor([0.07, 0.25, 0.04])  # the last is no opening
        shares[marker] = share
        monkeypatch.setattr(model, "logits", lambda h, s=shares: s.log().expand(len(h), -1))
        assert likelier(model, panel) == side


def test_gradients_are_left_out_at_random():
    lab = Lab("pocket/code-prior", problems=4, samples=8)
    batch, _ = drift_module._batch(prepare(drift_module._config(lab)), lab, 1)
    some = batch.left_out((0.6, 0.3), np.random.default_rng(0))
    kept = some.kept_BC & batch.mask_BC
    assert float(kept.sum() / batch.mask_BC.sum()) == pytest.approx(0.7, abs=0.06)
    assert float(kept[:, 0].float().mean()) == pytest.approx(0.4, abs=0.2)
    assert torch.equal(some.mask_BC, batch.mask_BC)  # lengths, and with them weights, stay
    assert torch.equal(some.select(torch.tensor([3, 1])).kept_BC[0], some.kept_BC[3][: some.select(
        torch.tensor([3, 1])).mask_BC.shape[1]])  # fmt: skip
