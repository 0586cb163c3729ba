"""Coverage and reward quality by definition."""

from itertools import combinations

import numpy as np
import pytest

from rlvr_placebo.analysis.arms import Samples
from rlvr_placebo.analysis.coverage import cover_at, coverage, pass_at_k
from rlvr_placebo.analysis.quality import Scored, reward_quality


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_pass_at_k_is_the_share_of_all_subsets(k):
    for right in range(7):
        marks = [1] * right + [0] * (6 - right)
        wanted = np.mean([any(c) for c in combinations(marks, k)])
        assert pass_at_k(np.array([right]), 6, k)[0] == pytest.approx(wanted)


def test_pass_at_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="pass@7"):
        pass_at_k(np.array([1]), 6, 7)


def test_cover_counts_problems_at_the_threshold():
    assert cover_at(np.array([0.0, 0.1, 0.3, 1.0]), 0.1).tolist() == [0, 1, 1, 1]


def sampled(right_P, n):
    share = np.array(right_P) / n
    ids = tuple(map(str, range(len(share))))
    return Samples(ids, ids, share, share, share, 0, np.zeros(len(share)), n)


def test_coverage_expands_where_new_problems_are_solved():
    rng = np.random.default_rng(0)
    base = sampled(rng.binomial(64, np.where(np.arange(200) < 80, 0.0, 0.5)), 64)
    wider = [sampled(rng.binomial(64, np.where(np.arange(200) < 20, 0.0, 0.5)), 64)
             for _ in range(5)]  # fmt: skip
    sharper = [sampled(rng.binomial(64, np.where(np.arange(200) < 80, 0.0, 0.9)), 64)
               for _ in range(5)]  # fmt: skip
    assert coverage(base, wider, 0.03)["expands"] == "yes"
    found = coverage(base, sharper, 0.03)
    assert found["expands"] == "no"
    assert found["by"] == "pass@64"
    first = next(m for m in found["measures"] if m["measure"] == "pass@1")
    assert first["value"] == pytest.approx(24, abs=2)


def scored(reward, correct, group, clusters=None):
    count = max(group) + 1
    return Scored(np.array(reward, float), np.array(correct, float), np.array(group),
                  tuple(clusters or map(str, range(count))))  # fmt: skip


def test_j_within_groups_by_hand():
    # group 0: p = 1/2, J = 1; group 1: p = 1/4, J = 0 − 1/3; group 2 has no wrong answer
    found = reward_quality(scored(
        [1, 0, 0, 1, 0, 0, 1, 1], [1, 0, 1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1, 2, 2]
    ))  # fmt: skip
    weights = [0.25, 0.1875]
    assert found["within"]["value"] == pytest.approx(
        (weights[0] * 1 + weights[1] * (-1 / 3)) / sum(weights)
    )
    assert found["groups"] == 2
    rates = [found[f"{kind}_positive_rate"]["value"] for kind in ("true", "false")]
    assert rates[0] == pytest.approx(weights[0] * 1 / sum(weights))
    assert rates[1] == pytest.approx(weights[1] * (1 / 3) / sum(weights))
    assert rates[0] - rates[1] == pytest.approx(found["within"]["value"])
    assert found["pooled"]["value"] == pytest.approx(1 / 2)


def test_a_reward_that_knows_problems_only_has_no_j_within():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(300), 16)
    chance = rng.uniform(0.05, 0.95, 300)
    correct = rng.random(4800) < chance[group]
    reward = rng.random(4800) < chance[group]
    found = reward_quality(scored(reward, correct, group))
    assert abs(found["within"]["value"]) < 3 * found["within"]["stderr"]
    assert found["pooled"]["value"] > 0.2
    assert found["differ"] is True


def test_nothing_scored_has_no_quality():
    found = reward_quality(Scored(np.zeros(0), np.zeros(0), np.zeros(0, dtype=int), ()))
    assert found["within"]["value"] is None
    assert found["differ"] is None
