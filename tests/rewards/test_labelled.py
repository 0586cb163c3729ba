"""Rewards that pay for labels, that a model gives itself, and that pass through noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import make_group
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Status, Vote
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.rewards.registry import REWARDS
from rlvr_placebo.rewards.spec import build, implied, names_in, needs_votes, parse
from rlvr_placebo.verify.vote import count_votes

TEXTS = [r"\boxed{7}", r"\boxed{8}", "no answer", r"\boxed{8.0}", r"\boxed{9}"]
VOTES = (
    Vote("8", 5, correct=False, raw="8"), Vote("7", 4, correct=True, raw="7.0"),
    Vote("x", 3, correct=None, raw="x"), Vote("9", 2, correct=False, raw="9"),
)  # fmt: skip


def labelled(votes=VOTES, permuted="9", texts=TEXTS):
    group = make_group(texts)
    return replace(group, problem=replace(group.problem, votes=votes, permuted_gold=permuted))


def rewards_of(spec, group=None, seed=0):
    scores = build(parse(spec))(group or labelled(), generator_for(seed, 1, "p", 0, "reward"))
    return [s.reward for s in scores]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("majority_vote", [0, 1, 0, 1, 0]),
        ("incorrect", [0, 1, 0, 1, 0]),
        ("incorrect(2)", [0, 0, 0, 0, 1]),
        ("incorrect(3)", [None] * 5),  # there are two known to be wrong
        ("vote(1)", [0, 1, 0, 1, 0]),
        ("vote(2)", [1, 0, 0, 0, 0]),
        ("vote(4)", [0, 0, 0, 0, 1]),
        ("vote(5)", [None] * 5),
        ("minority_vote", [0, 0, 0, 0, 1]),
        ("permuted_gold", [0, 0, 0, 0, 1]),
        ("ttrl", [0, 1, 0, 1, 0]),  # 8 and 8.0 are one answer
        ("one_shot", [1, 0, 0, 0, 0]),
        ("no_repetition", [1, 1, 1, 1, 1]),
        ("not(majority_vote)", [1, 0, 1, 0, 1]),
        ("all(majority_vote,format)", [0, 1, 0, 1, 0]),
        ("noise(majority_vote,0,0)", [0, 1, 0, 1, 0]),
        ("noise(majority_vote,1,1)", [1, 0, 1, 0, 1]),
        ("noise(majority_vote,1,0)", [1, 1, 1, 1, 1]),
    ],
)
def test_by_hand(spec, expected):
    assert rewards_of(spec) == expected


def test_without_votes_a_reward_is_unknown():
    bare = labelled(votes=(), permuted=None)
    for spec in ("majority_vote", "incorrect", "vote(1)", "minority_vote", "permuted_gold"):
        scores = build(parse(spec))(bare, generator_for(0, 1, "p", 0, "reward"))
        assert [s.reward for s in scores] == [None] * 5
        assert {s.status for s in scores} == {Status.BAD_GOLD}
        assert [s.correct for s in scores] == [True, False, False, False, False]


def test_the_marker_by_hand():
    group = make_group(["Okay.\nSo 7", "So 7. Okay.", " okay, 7", "Okayish 7"])
    assert rewards_of("marker", group) == [1, 0, 1, 0]


def test_no_repetition_by_hand():
    group = make_group(["So 7. " * 6, "So 7. " * 3, "a" * 60, ""])
    assert rewards_of("no_repetition", group) == [0, 1, 0, 1]


def test_ttrl_breaks_ties_by_the_first_and_leaves_a_silent_group_unknown():
    assert rewards_of("ttrl", make_group([r"\boxed{3}", r"\boxed{4}"])) == [1, 0]
    assert rewards_of("ttrl", make_group([r"\boxed{4}", r"\boxed{3}"])) == [1, 0]
    assert rewards_of("ttrl", make_group(["a", "b"])) == [None, None]
    # answers that cannot be read have no vote
    assert rewards_of("ttrl", make_group([r"\boxed{1+*2}", r"\boxed{3}"])) == [0, 1]
    assert rewards_of("ttrl", make_group([r"\boxed{x+1}", r"\boxed{1+x}"])) == [1, 1]


def test_sureness_by_hand():
    group = make_group(["a", "b"])
    values = [[0.5, 1.5], [2.0, 4.0, 6.0]]
    rollouts = tuple(
        replace(r, completion=replace(r.completion, entropies=np.array(v, np.float32),
                                      certainties=np.array(v, np.float32) + 1))
        for r, v in zip(group.rollouts, values, strict=True)
    )  # fmt: skip
    group = replace(group, rollouts=rollouts)
    assert rewards_of("low_entropy", group) == [-1.0, -4.0]
    assert rewards_of("self_certainty", group) == [2.0, 5.0]


def test_noise_by_hand():
    own = generator_for(5, 1, "p", 0, "reward").spawn(2)[1].random(5)
    base = [0, 1, 0, 1, 0]
    expected = [1 - b if u < (0.4 if b else 0.3) else b for b, u in zip(base, own, strict=True)]
    assert rewards_of("noise(majority_vote,0.3,0.4)", seed=5) == expected


def test_noise_lowers_youden_j_by_its_rates():
    group = make_group([r"\boxed{7}", r"\boxed{8}"] * 8)
    draws = np.array([rewards_of("noise(ground_truth,0.1,0.3)", group, s) for s in range(1500)])
    truth = np.array([1.0, 0.0] * 8)
    j = draws[:, truth == 1].mean() - draws[:, truth == 0].mean()
    assert j == pytest.approx(1 - 0.1 - 0.3, abs=0.02)


def test_noise_needs_zeros_and_ones():
    scores = build(parse("noise(constant(0.5),0,0)"))(labelled(), generator_for(0, 1, "p", 0, "r"))
    assert {(s.reward, s.status) for s in scores} == {(None, Status.ERROR)}
    unknown = labelled(votes=())
    assert rewards_of("noise(majority_vote,1,1)", unknown) == [None] * 5


answers = st.lists(
    st.sampled_from([None, "", "7", "7.0", " 7 ", "8", r"\frac{1}{2}", "0.5", "1/2", "x+1", "yes"]),
    max_size=24,
)


@given(answers)
def test_votes_are_counted_once_and_in_order(given_answers):
    ballot = count_votes(given_answers, ["7"])
    counts = [v.count for v in ballot.votes]
    assert sum(counts) + ballot.empty + ballot.unparsable == len(given_answers)
    assert counts == sorted(counts, reverse=True)
    assert ballot.tie == (len(counts) > 1 and counts[0] == counts[1])
    assert len({v.answer for v in ballot.votes}) == len(counts)
    for vote in ballot.votes:
        assert vote.raw in given_answers
        assert vote.correct is {"7": True, "7.0": True, "yes": False}.get(vote.answer, False)


def test_equal_answers_are_one_class():
    ballot = count_votes(["1/2", r"\frac{1}{2}", "0.5", "3", None, " ", r"\sqrt{2}"], ["0.50"])
    assert [(v.answer, v.count, v.correct, v.raw) for v in ballot.votes] == [
        ("1/2", 3, True, "1/2"), ("3", 1, False, "3"), (r"\sqrt{2}", 1, False, r"\sqrt{2}")
    ]  # fmt: skip
    assert (ballot.empty, ballot.unparsable, ballot.tie) == (2, 0, False)
    assert count_votes(["1+*2", "3"]).unparsable == 1
    # FIELD: 4:3 and 4/3 are one answer
    assert [v.correct for v in count_votes(["4:3"], ["4/3"]).votes] == [True]


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=12), st.integers(0, 2**63))
def test_labels_pay_the_same_in_any_order_and_keep_the_truth(texts, seed):
    group = labelled(texts=texts)
    for spec in ("majority_vote", "incorrect", "minority_vote", "permuted_gold", "no_repetition"):
        plain = rewards_of(spec, group)
        turned = replace(group, rollouts=tuple(reversed(group.rollouts)))
        assert rewards_of(spec, turned) == plain[::-1]
        assert set(plain) <= {0.0, 1.0}
    noisy = rewards_of("noise(incorrect,0.5,0.5)", group, seed)
    assert noisy == rewards_of("noise(incorrect,0.5,0.5)", group, seed)
    shuffled = rewards_of("shuffle(majority_vote)", group, seed)
    assert sorted(shuffled) == sorted(rewards_of("majority_vote", group))


def test_ttrl_pays_whoever_agrees_with_the_most():
    @given(st.lists(st.integers(0, 4), min_size=1, max_size=16))
    def check(numbers):
        rewards = rewards_of("ttrl", make_group([rf"\boxed{{{n}}}" for n in numbers]))
        paid = {n for n, r in zip(numbers, rewards, strict=True) if r}
        assert len(paid) == 1
        assert numbers.count(paid.pop()) == max(map(numbers.count, numbers))

    check()


def test_what_a_reward_asks_of_a_run():
    assert implied(parse("one_shot")) == {"pool_size": 1}
    assert implied(parse("shuffle(ttrl)")) == {"pool": "benchmark"}
    assert implied({"all": ["ttrl", "one_shot"]}) == {"pool": "benchmark", "pool_size": 1}
    assert implied(parse("format")) == {}
    assert needs_votes(parse("noise(incorrect,0.1,0.1)")) == 1
    assert needs_votes({"all": ["format", "majority_vote", "incorrect(3)"]}) == 3
    assert needs_votes(parse("vote(2)")) == needs_votes(parse("minority_vote")) == 2
    assert needs_votes(parse("shuffle(permuted_gold)")) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("incorrect(0)", "rank must be 1, 2, 3"),
        ("vote(1.5)", "rank must be 1, 2, 3"),
        ("vote", "takes one number"),
        ("noise(format)", "takes one reward, one number, one number"),
        ("noise(format,2,0)", "rate 2 must lie between 0 and 1"),
        ("noise(0.1,format,0)", "takes one reward, one number"),
        ("entropy", "did you mean 'low_entropy'"),
        ("majority", "did you mean 'majority_vote'"),
    ],
)
def test_mistakes_are_one_line(text, message):
    with pytest.raises(PlaceboError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


ALL = (
    "ground_truth", "majority_vote", "incorrect(2)", "vote(2)", "minority_vote", "permuted_gold",
    "one_shot", "ttrl", "format", "python", "no_python", "no_repetition", "self_certainty",
    "low_entropy", "marker", "random(0.4)", "constant(0.3)", "shuffle(random(0.4))", "not(format)",
    "noise(incorrect,0.2,0.3)", "all(ground_truth,no_python)",
)  # fmt: skip


def test_no_reward_was_forgotten():
    assert set().union(*(names_in(parse(r)) for r in ALL)) | {"weighted_sum"} == set(REWARDS)


@pytest.mark.parametrize("spec", [*ALL, {"weighted_sum": [[2, "random"], [1, "format"]]}], ids=str)
def test_any_reward_is_a_pure_function_that_keeps_the_truth(spec):
    @given(st.lists(st.sampled_from([*TEXTS, ""]), min_size=1, max_size=9), st.integers(0, 2**63))
    @settings(max_examples=25)
    def check(texts, seed):
        group = labelled(texts=texts)
        reward = build(parse(spec) if isinstance(spec, str) else spec)
        scores = [reward(group, generator_for(seed, 1, "p", 0, "reward")) for _ in range(2)]
        assert scores[0] == scores[1]
        assert len(scores[0]) == len(texts)
        for found, rollout in zip(scores[0], group.rollouts, strict=True):
            assert found.correct is rollout.verification.correct
            assert found.reward is None or np.isfinite(found.reward)

    check()


@given(st.lists(st.lists(st.floats(0, 20), min_size=1, max_size=6), min_size=2, max_size=6))
def test_sureness_pays_in_its_own_order(values):
    group = make_group(["x"] * len(values))
    rollouts = tuple(
        replace(r, completion=replace(r.completion, entropies=np.array(v, np.float32),
                                      certainties=np.array(v, np.float32)))
        for r, v in zip(group.rollouts, values, strict=True)
    )  # fmt: skip
    group = replace(group, rollouts=rollouts)
    means = [float(np.array(v, np.float32).mean(dtype="float64")) for v in values]
    assert rewards_of("self_certainty", group) == means
    assert rewards_of("low_entropy", group) == [-m for m in means]
