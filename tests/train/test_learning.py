"""Under the true reward a small model learns, on a CPU; with the sign turned round it does not."""

import math

import numpy as np
import pytest
from scipy import stats

from rlvr_placebo.core.statistics import mean_of_runs
from rlvr_placebo.learner import batch as learner_batch
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.settings import make_config

SEEDS = (0, 1, 2)


def gains(folder) -> list[float]:
    """Points of sampled accuracy won by each of three short runs."""
    found = []
    for seed in SEEDS:
        settings = {
            "seed": seed, "steps": 12, "rollout.problems": 16, "evaluation.samples": 1,
            "evaluation.temperatures": [1.0], "evaluation.max_tokens": 72,
        }  # fmt: skip
        config = make_config("pocket/code-prior", "ground_truth", "pocket", settings)
        directory = run(config, folder / str(seed), shared=folder / "shared")
        before, after = (e["summary"][0]["accuracy"] for e in directory.metrics("evaluation"))
        found.append(100 * (after["value"] - before["value"]))
    return found


def learns(points: list[float]) -> bool:
    """At least 10 points, and the lower 95 % bound (t over seeds) above 0."""
    estimate = mean_of_runs(points)
    lower = estimate.value - stats.t.ppf(0.95, len(points) - 1) * estimate.stderr
    return estimate.value >= 10 and lower > 0


@pytest.mark.timeout(240)
def test_the_true_reward_teaches(tmp_path):
    assert learns(gains(tmp_path))


@pytest.mark.timeout(240)
def test_turned_round_it_does_not(tmp_path, monkeypatch):
    original = learner_batch.advantages
    monkeypatch.setattr(learner_batch, "advantages", lambda r, kind: -original(r, kind))
    points = gains(tmp_path)
    assert not learns(points)
    assert np.mean(points) < 0
    assert not math.isnan(np.mean(points))
