"""Contrasts by hand-computed numbers, by definition, and against SciPy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rlvr_placebo.analysis.contrasts import BASE, Outcomes, contrast, log_odds
from rlvr_placebo.core.statistics import two_groups
from rlvr_placebo.verdict.power import detectable, needed, smallest_effect

R, C, B = ("reward", "b"), ("control", "b"), (BASE, "b")


def outcomes(rows, clusters=None, samples=1000, trained=True):
    share = np.array(rows, dtype=float)
    return Outcomes(share, tuple(clusters or map(str, range(share.shape[1]))), samples, trained)


def test_a_gain_by_hand():
    found = contrast(
        {
            R: outcomes([[0.6, 0.8], [0.8, 1.0], [0.7, 0.9]]),
            B: outcomes([[0.5, 0.5]], trained=False),
        },
        {R: 1.0, B: -1.0},
    )
    assert found.value == pytest.approx(0.3)
    assert found.seeds == pytest.approx((0.01 / 3) ** 0.5)  # s² = 0.01 over three seeds
    assert found.problems == pytest.approx(0.1)  # 0.2 and 0.4: s/√2
    assert found.df == pytest.approx((0.01 / 3 + 0.01) ** 2 / ((0.01 / 3) ** 2 / 2 + 0.01**2))
    half = stats.t.ppf(0.95, found.df) * found.stderr
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half))
    assert found.p_above == pytest.approx(stats.t.sf(0.3 / found.stderr, found.df))
    assert (found.n, found.clusters) == (2, 2)


def test_an_arm_that_happens_to_agree_takes_the_spread_of_all():
    rng = np.random.default_rng(0)
    steady, wild = rng.uniform(0.49, 0.51, 6), rng.uniform(0.3, 0.8, 9)
    even = np.zeros(40)  # every problem shifts alike: no error over problems
    found = contrast(
        {R: outcomes(steady[:, None] + even), C: outcomes(wild[:, None] + even)}, {R: 1.0, C: -1.0}
    )
    pooled = (5 * steady.var(ddof=1) + 8 * wild.var(ddof=1)) / 13
    parts = [(pooled / 6, 13), (wild.var(ddof=1) / 9, 8)]
    assert found.seeds**2 == pytest.approx(sum(v for v, _ in parts))
    df = sum(v for v, _ in parts) ** 2 / sum(v**2 / f for v, f in parts)
    assert found.df == pytest.approx(df, rel=1e-3)


def test_arms_outside_the_contrast_lend_their_spread_too():
    steady, base = outcomes([[0.6, 0.7]] * 5), outcomes([[0.5, 0.5]], trained=False)
    wild = outcomes(np.array([[0.1], [0.9], [0.2], [0.8], [0.5]]) * np.ones(2))
    alone = contrast({R: steady, B: base}, {R: 1.0, B: -1.0})
    beside = contrast({R: steady, B: base, C: wild}, {R: 1.0, B: -1.0})
    assert beside.seeds**2 == pytest.approx(wild.share_S_P[:, 0].var(ddof=1) / 2 / 5, rel=0.01)
    assert beside.value == alone.value
    assert alone.seeds < 0.01 * beside.seeds


@pytest.mark.parametrize("sizes", [(5, 5), (3, 3), (4, 7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_permutation_of_two_arms_is_scipys(sizes, sign):
    rng = np.random.default_rng(sum(sizes))
    one, other = rng.normal(0.5, 0.1, sizes[0]), rng.normal(0.45, 0.1, sizes[1])
    found = contrast(
        {R: outcomes(one[:, None] * np.ones(3)), C: outcomes(other[:, None] * np.ones(3))},
        {R: 1.0, C: -1.0},
    )
    wanted = stats.permutation_test(
        (one, other), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf,
        alternative="greater" if sign > 0 else "less",
    )  # fmt: skip
    assert found.permutation(sign) == pytest.approx(wanted.pvalue)


def test_rearrangements_of_many_seeds_are_drawn(monkeypatch):
    rng = np.random.default_rng(3)
    rows = {
        R: outcomes(0.5 + rng.normal(0.02, 0.05, (9, 4))),
        C: outcomes(0.5 + rng.normal(0, 0.05, (10, 4))),
    }
    exact = contrast(rows, {R: 1.0, C: -1.0}).permutation(1)
    monkeypatch.setattr("rlvr_placebo.analysis.contrasts.MOST_EXACT", 0)
    drawn = contrast(rows, {R: 1.0, C: -1.0}).permutation(1)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5)
    gain = {R: rows[R], B: outcomes([[0.5] * 4], trained=False)}
    few = contrast(gain, {R: 1.0, B: -1.0}).permutation(1)
    monkeypatch.undo()
    assert few == pytest.approx(contrast(gain, {R: 1.0, B: -1.0}).permutation(1), abs=0.015)


def test_the_smallest_p_of_three_against_three_is_a_tenth_of_two_sides():
    found = contrast(
        {R: outcomes([[0.9, 0.8]] * 3), C: outcomes([[0.1, 0.2]] * 3)}, {R: 1.0, C: -1.0}
    )
    assert found.permutation(1) == pytest.approx(1 / 20)


def test_signs_are_turned_where_one_arm_has_seeds():
    rows = {R: outcomes([[0.6, 0.7]] * 5), B: outcomes([[0.5, 0.5]], trained=False)}
    assert contrast(rows, {R: 1.0, B: -1.0}).permutation(1) == pytest.approx(1 / 32)


def test_an_error_is_never_smaller_than_one_answer():
    found = contrast(
        {R: outcomes([[0.0] * 5] * 5, samples=8), B: outcomes([[0.0] * 5], samples=8,
                                                               trained=False)},
        {R: 1.0, B: -1.0},
    )  # fmt: skip
    assert found.value == 0
    assert found.problems == pytest.approx(1 / 40)
    assert found.seeds == pytest.approx(1 / 200)


def test_problems_that_nobody_could_judge_leave_both_arms():
    rows = {
        R: outcomes([[1.0, np.nan, 0.5], [1.0, 0.0, 0.7]]),
        B: outcomes([[0.0, 0.0, 0.1]], trained=False),
    }
    assert contrast(rows, {R: 1.0, B: -1.0}).n == 2


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([[0.1, 0.2]], "one seed"),
        ([[np.nan, np.nan], [0.1, 0.2]], "no problem"),
    ],
)
def test_what_shows_no_spread_is_refused(rows, line):
    with pytest.raises(ValueError, match=line):
        contrast({R: outcomes(rows), B: outcomes([[0.0, 0.0]], trained=False)}, {R: 1.0, B: -1.0})


def test_one_cluster_is_refused():
    with pytest.raises(ValueError, match="one cluster"):
        contrast(
            {R: outcomes([[0.1, 0.2]] * 3, "aa"), B: outcomes([[0.0, 0.0]], "aa", trained=False)},
            {R: 1.0, B: -1.0},
        )


def test_the_error_in_log_odds_is_that_of_many_simulated_studies():
    rng = np.random.default_rng(3)
    weights, values, errors = {R: 1.0, B: -1.0}, [], []
    for _ in range(300):
        easy = np.clip(rng.normal(0.3, 0.1, 150), 0.05, 0.95)
        chance = np.clip(easy + 0.3 + rng.normal(0, 0.03, (6, 1)), 0.01, 0.99)
        rows = {
            R: outcomes(rng.binomial(8, chance) / 8, samples=8),
            B: outcomes(rng.binomial(8, easy[None]) / 8, samples=8, trained=False),
        }
        means = [float(rows[k].share_S_P.mean()) for k in (R, B)]
        values.append(np.log(means[0] / (1 - means[0])) - np.log(means[1] / (1 - means[1])))
        errors.append(contrast(rows, log_odds(rows, weights)).stderr)
    # Decoding noise is in both parts and the base is shared, so the error may be too large.
    assert 0.95 < np.mean(errors) / np.std(values) < 1.7


def test_log_odds_do_not_exist_where_everything_is_wrong():
    rows = {R: outcomes([[0.0, 0.0]]), B: outcomes([[0.5, 0.5]], trained=False)}
    assert log_odds(rows, {R: 1.0, B: -1.0}) is None


@pytest.mark.parametrize(("seeds", "effect"), [(3, 3.0), (5, 2.0), (10, 1.3), (20, 0.9)])
def test_the_smallest_effects_are_those_of_the_specification(seeds, effect):
    assert smallest_effect(seeds) == pytest.approx(effect, abs=0.08)


def test_what_would_be_needed_is_enough():
    rng = np.random.default_rng(1)
    rows = {R: outcomes(rng.normal(0.5, 0.05, (5, 1)) + rng.normal(0, 0.02, 300)),
            C: outcomes(rng.normal(0.5, 0.05, (5, 1)) + rng.normal(0, 0.02, 300))}  # fmt: skip
    found = contrast(rows, {R: 1.0, C: -1.0})
    wanted = needed(found, 0.03, 5)
    assert wanted["smallest_effect"] >= 100 * detectable(found.stderr, found.df)
    assert wanted["smallest_effect"] >= 3 + 100 * 0.84 * found.stderr
    assert wanted["of"] == 4
    assert wanted["seeds"] > 5
    assert needed(found, 1e-6, 5)["smallest_effect"] == pytest.approx(
        100 * detectable(found.stderr, found.df)
    )
    wide = replace(found, problems=0.2)
    assert needed(wide, 0.03, 5)["seeds"] is None  # the problems alone say less than that


def test_the_papers_clipping_seeds_differ_in_spread_and_not_in_mean(paper):
    seeds = paper["figure13_clipping_seeds_qwen2.5-math-7b_math500_step80"]
    found = two_groups(seeds["clip_off_in_loss"], seeds["clip_on"])
    assert found["variances"] < 0.05
    assert found["welch"] == pytest.approx(0.05, abs=0.005)
    assert found["permutation"] == pytest.approx(0.20, abs=0.005)


def test_two_groups_are_scipys():
    rng = np.random.default_rng(5)
    one, other = rng.normal(0, 1, 8), rng.normal(0.5, 3, 6)
    found = two_groups(one.tolist(), other.tolist())
    assert found["welch"] == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)
    assert found["variances"] == pytest.approx(stats.levene(one, other, center="median").pvalue)


def test_a_group_that_does_not_vary_beside_one_that_does():
    found = two_groups([0.1 + 0.2, 0.3, 0.3], [0.1, 0.5, 0.2])
    assert 0 < found["welch"] <= 1
    assert 0 < found["variances"] <= 1


def test_groups_that_do_not_vary_have_no_p():
    assert two_groups([1.0, 1.0], [1.0, 1.0])["welch"] is None
    assert two_groups([1.0], [1.0, 2.0])["permutation"] is None
