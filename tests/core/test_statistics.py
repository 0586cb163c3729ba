import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlvr_placebo.core.statistics import (
    Estimate,
    add_errors,
    clustered_mean,
    interval,
    mean_of_runs,
)


def test_one_value_per_cluster_is_the_ordinary_standard_error():
    y = [1.0, 2.0, 4.0, 9.0]
    e = clustered_mean(y, list("abcd"), "problem")
    assert e.value == 4.0
    assert e.stderr == pytest.approx(np.std(y, ddof=1) / 2)
    assert (e.n, e.clusters, e.clustered_by) == (4, 4, "problem")


def test_clusters_by_hand():
    # residuals −1/2, −1/2, 1/2, 1/2 in clusters (0,0), (1,1): sums −1, +1; 2/1 · 2 / 16 = 1/4
    e = clustered_mean([0, 0, 1, 1], ["a", "a", "b", "b"], "template")
    assert e.stderr == pytest.approx(0.5)
    apart = clustered_mean([0, 0, 1, 1], list("abcd"), "problem")
    assert apart.stderr == pytest.approx(math.sqrt(1 / 12))


def test_nothing_observed_and_one_cluster():
    assert clustered_mean([], [], "c") == Estimate(None, None, 0, 0, "c")
    one = clustered_mean([1, 0], ["a", "a"], "c")
    assert (one.value, one.stderr) == (0.5, None)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="2 values but 1"):
        clustered_mean([1, 2], ["a"], "c")


@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from("abcdef")), min_size=2))
def test_order_does_not_matter(rows):
    def estimate(pairs):
        return clustered_mean([v for v, _ in pairs], [c for _, c in pairs], "c")

    one, other = estimate(rows), estimate(rows[::-1])
    assert one.value == pytest.approx(other.value, abs=1e-12)
    assert (one.stderr is None) == (other.stderr is None)
    if one.stderr is not None:
        assert one.stderr == pytest.approx(other.stderr, abs=1e-9)


def test_interval_covers_under_clustering():
    # 40 clusters of 10 with a shared effect: the clustered interval covers about 95 %, the naive
    # one (every sample a cluster of its own) far less.
    rng = np.random.default_rng(0)
    clusters = [str(c) for c in range(40) for _ in range(10)]
    hits = {"clustered": 0, "naive": 0}
    for _ in range(400):
        y = rng.normal(size=40).repeat(10) + 0.5 * rng.normal(size=400)
        for name, labels in (("clustered", clusters), ("naive", [str(i) for i in range(400)])):
            e = clustered_mean(y, labels, "c")
            hits[name] += abs(e.value) < 2.02 * e.stderr
    assert 0.91 <= hits["clustered"] / 400 <= 0.98
    assert hits["naive"] / 400 < 0.7


def test_errors_add_in_squares():
    a, b = mean_of_runs([1.0, 3.0]), mean_of_runs([2.0])
    assert a.stderr == pytest.approx(1.0)
    assert b.stderr is None
    assert add_errors(a, b) == pytest.approx(1.0)
    assert add_errors(a, a) == pytest.approx(math.sqrt(2))
    assert add_errors(b) is None


def test_interval_by_hand():
    # one part: Student's t with its clusters less one
    part = Estimate(10.0, 2.0, 5, 5, "seed")
    assert interval([part]) == pytest.approx((10 - 2.776445 * 2, 10 + 2.776445 * 2))
    # two parts, of 2 seeds and of 50 templates: each its own t, added as squares
    parts = [Estimate(10.0, 1.0, 500, 50, "template"), Estimate(10.0, 2.0, 2, 2, "seed")]
    half = math.hypot(stats.t.ppf(0.975, 49), 2 * stats.t.ppf(0.975, 1))
    assert interval(parts) == pytest.approx((10 - half, 10 + half))
    assert interval([Estimate(1.0, None, 1, 1, "seed")]) is None
    assert interval([Estimate(None, None, 0, 0, "seed")]) is None
    # no spread is luck, not certainty
    assert interval([Estimate(3.0, 0.0, 2, 2, "seed"), Estimate(3.0, 1.0, 9, 9, "p")]) is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interval_covers_as_often_as_it_says(seeds):
    """So many seeds × 40 problems, both with variance: the truth lies inside in 95 of 100."""
    rng = np.random.default_rng(seeds)
    hits = 0
    for _ in range(2000):
        noise = rng.normal(0, 2, (1, 40)) + rng.normal(0, 1, (seeds, 40))
        table = rng.normal(0, 1, (seeds, 1)) + noise
        problems = clustered_mean(table.mean(axis=0), [str(i) for i in range(40)], "problem")
        low, high = interval([problems, mean_of_runs(table.mean(axis=1).tolist())])
        hits += low <= 0 <= high
    assert 0.94 < hits / 2000 < 0.995
