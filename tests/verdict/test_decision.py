"""Every category, from studies made for it; the order of the rules; calibration in small."""

from dataclasses import replace

import numpy as np
import pytest

from rlvr_placebo.analysis.contrasts import Contrast
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.verdict.calibration import Count, add, false_genuine, run_world
from rlvr_placebo.verdict.decision import (
    FORMAT,
    MAJORITY,
    PERMUTED,
    REWARD,
    SHUFFLE,
    TRAINED,
    Category,
    Ends,
    decide,
    decide_all,
    holm,
    make_case,
)
from rlvr_placebo.verdict.simulation import (
    ARMS,
    ENDS,
    FRESH,
    GIVEN,
    NULLS,
    PROMPTS,
    PROMPTS_AT_1,
    Spread,
    World,
    power_world,
    simulate,
)

LOW = dict.fromkeys(TRAINED, 0.0)
STEADY = dict.fromkeys(ARMS, Spread(0.004))
GENUINE = World({REWARD: 0.2, **LOW}, spreads=STEADY, uneven=0.005, apart=0.002)


def drawn(world, seed=0):
    return simulate(world, np.random.default_rng(seed))


def decided(world, ends=ENDS, seed=0, **more):
    return decide(make_case(drawn(world, seed), ends, 0.03, **more))


WORLDS = {
    Category.GENUINE: GENUINE,
    Category.HARMFUL: replace(GENUINE, gains={REWARD: -0.15, **LOW}),
    Category.INERT: replace(GENUINE, gains={REWARD: 0.0, **LOW}),
    Category.CONTAMINATED: replace(GENUINE, gains_fresh={REWARD: 0.0}),
    Category.FORMAT: replace(GENUINE, gains={REWARD: 0.2, **LOW, FORMAT: 0.2}),
    Category.ELICITED: replace(GENUINE, gains={REWARD: 0.2, **LOW, MAJORITY: 0.2}),
    Category.UNDERPOWERED: replace(
        GENUINE, gains={REWARD: 0.05, **LOW}, spreads=dict.fromkeys(ARMS, Spread(0.12))
    ),
}


@pytest.mark.parametrize("category", WORLDS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_every_category_is_reached(category, seed):
    found = decided(WORLDS[category], seed=seed)
    assert found.category is category
    assert "gain on given" in found.because


@pytest.mark.parametrize("control", TRAINED)
def test_equal_to_any_control_is_not_genuine(control):
    found = decided(replace(GENUINE, gains={REWARD: 0.2, **LOW, control: 0.2}))
    assert found.category is (Category.FORMAT if control == FORMAT else Category.ELICITED)
    assert control in found.because


def test_a_better_prompt_that_gives_as_much_is_format():
    found = decided(replace(GENUINE, prompt=0.2, problems=1500))
    assert found.category is Category.FORMAT
    assert "prompt at T = 1" in found.because


def test_a_better_temperature_that_gives_as_much_is_elicited():
    outcomes = drawn(replace(GENUINE, prompt=0.2, problems=1500))
    plain = drawn(replace(GENUINE, problems=1500))
    outcomes |= {key: plain[key] for key in plain if key[1] == PROMPTS_AT_1}
    found = decide(make_case(outcomes, ENDS, 0.03))
    assert found.category is Category.ELICITED


def test_above_nothing_and_below_delta_is_said_so():
    case = make_case(drawn(GENUINE), ENDS, 0.03)
    by_arm = (np.array([0.424, 0.425, 0.426, 0.427, 0.428]), -np.full(5, 0.4))
    small = Contrast(0.026, 0.006, 50.0, 0.004, 0.004, 500, 77, by_arm)
    found = decide(replace(case, against={**case.against, (SHUFFLE, GIVEN): small}))
    assert found.category is Category.UNDERPOWERED
    assert "over shuffle on given +2.6 [1.6, 3.6] is above 0, but below 3 points" in found.because


def test_a_control_that_harms_does_not_make_nothing_genuine():
    """No gain on the fresh benchmark, where every control fell by ten points."""
    fallen = dict.fromkeys(TRAINED, -0.1)
    for seed in range(10):
        found = decided(replace(GENUINE, gains={REWARD: 0.12, **fallen},
                                gains_fresh={REWARD: 0.0, **fallen}), seed=seed)  # fmt: skip
        assert found.category is not Category.GENUINE


def test_a_fresh_benchmark_that_is_far_harder_does_not_prove_contamination():
    outcomes = drawn(GENUINE)
    for arm, high in ((REWARD, 0.035), ("base", 0.01), *((c, 0.01) for c in TRAINED)):
        o = outcomes[arm, FRESH]
        rng = np.random.default_rng(len(arm))
        share = rng.binomial(8, high, o.share_S_P.shape) / 8
        outcomes[arm, FRESH] = replace(o, share_S_P=share)
    case = make_case(outcomes, ENDS, 0.03)
    assert not case.alike
    assert decide(case).category is not Category.CONTAMINATED


def test_faults_come_before_everything():
    found = decided(GENUINE, faults=("a seed is missing", "and an arm"))
    assert found.category is Category.INVALID
    assert found.because == "a seed is missing; and an arm"


def test_without_a_fresh_benchmark_nothing_is_genuine():
    (found,) = decide_all(
        [make_case(drawn(GENUINE), Ends(GIVEN, None, PROMPTS, PROMPTS_AT_1), 0.03)]
    )
    assert found.category is Category.UNDERPOWERED
    assert "without a fresh benchmark" in found.because


def test_beyond_on_the_given_benchmark_only_is_not_genuine():
    fresh = {REWARD: 0.2, SHUFFLE: 0.2}
    found = decided(replace(GENUINE, gains_fresh=fresh))
    assert found.category is Category.ELICITED
    assert "shuffle on fresh" in found.because


def test_a_reward_without_information_is_elicited_at_most():
    found = decided(GENUINE, informed=False)
    assert found.category is Category.ELICITED
    assert "no information from outside" in found.because


@pytest.mark.parametrize(
    ("role", "category"),
    [(FORMAT, Category.FORMAT), (MAJORITY, Category.ELICITED), (PERMUTED, Category.ELICITED)],
)
def test_a_reward_that_is_a_control_is_at_most_that(role, category):
    found = decided(GENUINE, same=(role,))
    assert found.category is category
    assert f"the control {role} itself" in found.because


def test_an_effect_below_delta_is_not_genuine_however_sure():
    steady = dict.fromkeys(ARMS, Spread(0.0005))
    small = World({REWARD: 0.12, **LOW, PERMUTED: 0.1}, spreads=steady, uneven=0.001, samples=200)
    case = make_case(drawn(small), ENDS, 0.03)
    assert all(c.above for c in case.against.values())
    assert decide(case).category is Category.ELICITED  # equivalent to gold permuted


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == [True, False, False]
    assert holm([0.01, 0.02, 0.03]) == [True, True, True]
    assert holm([0.06]) == [False]
    assert holm([]) == []


def test_many_rewards_are_corrected_together():
    worlds = [GENUINE, *[replace(GENUINE, gains={REWARD: 0.0, **LOW})] * 9]
    cases = [make_case(drawn(w, i), ENDS, 0.03) for i, w in enumerate(worlds)]
    alone, together = decide(cases[0]), decide_all(cases)[0]
    assert alone.category is Category.GENUINE
    kept = cases[0].p_genuine <= 0.05 / 10
    assert together.category is (Category.GENUINE if kept else Category.UNDERPOWERED)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_floor_and_a_ceiling_have_a_verdict(share):
    outcomes = {
        key: replace(o, share_S_P=np.full_like(o.share_S_P, share))
        for key, o in drawn(GENUINE).items()
    }
    assert decide(make_case(outcomes, ENDS, 0.03)).category is Category.INERT


def test_three_problems_have_a_verdict():
    world = replace(GENUINE, problems=6, clusters=4)
    outcomes = {
        key: replace(o, share_S_P=o.share_S_P[:, :3], clusters=("a", "b", "c"))
        for key, o in drawn(world).items()
    }
    found = decide(make_case(outcomes, ENDS, 0.03))
    assert found.category in (Category.UNDERPOWERED, Category.GENUINE)


def test_problems_in_one_cluster_are_a_fault():
    outcomes = {k: replace(o, clusters=("a",) * len(o.clusters)) for k, o in drawn(GENUINE).items()}
    found = decide(make_case(outcomes, ENDS, 0.03))
    assert found.category is Category.INVALID
    assert "one cluster" in found.because


@pytest.mark.parametrize("name", NULLS)
def test_nulls_are_seldom_called_genuine(name):
    """A small version of `make calibrate`: with 150 studies, 5 % would be 7.5."""
    counts = add([run_world(name, NULLS[name], range(i, i + 75)) for i in (0, 75)])
    assert counts["studies"] == 150
    assert false_genuine(counts).lower <= 0.05
    seen = {what: n for what, n in counts["covered"].items() if not _blind(name, what)}
    assert all(times >= 0.9 * 150 for times in seen.values())


def _blind(name, what):
    """In 17 of 100 such studies none of the one arm's five seeds collapses: nothing can be seen."""
    return "only the best control's seeds" in name and what.startswith("over shuffle")


def test_power_at_ten_seeds():
    """Six points beyond the best control, a spread of 1.5 points over seeds."""
    counts = run_world("power", power_world(0.06, 10, 0.015), range(40))
    assert false_genuine(counts).share > 0.8


def test_a_simulated_study_has_the_truth_it_says():
    world = replace(GENUINE, problems=4000, clusters=4000, samples=50, seeds=40)
    outcomes = simulate(world, generator_for(0, 0, "", 0, "test"))
    for arm in ARMS:
        for end in (GIVEN, FRESH):
            gain = outcomes[arm, end].share_S_P.mean() - outcomes["base", end].share_S_P.mean()
            assert gain == pytest.approx(world.gain(arm, end), abs=0.004)


def test_bounds_of_counts():
    assert Count(0, 100).upper == pytest.approx(1 - 0.05 ** (1 / 100))
    assert Count(100, 100).upper == 1.0
    assert Count(0, 10).lower == 0.0
