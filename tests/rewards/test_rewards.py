import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import make_group
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Score, Status
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.rewards.registry import REWARDS
from rlvr_placebo.rewards.spec import build, canonical, describe, parse

TEXTS = [
    "Let's use Python.\n```python\nx=3+4 #7\nprint(x)\n```\nSo \\boxed{7}",  # right, boxed, Python
    "3 plus 4 is 8.\nSo \\boxed{8}",  # wrong, boxed
    "3 plus 4 is 7.\nSo 7",  # no answer
    "The answer is 7.",  # right, not boxed
]


def rewards_of(spec, texts=TEXTS, seed=0, gold="7"):
    scores = build(parse(spec) if isinstance(spec, str) else spec)(
        make_group(texts, gold), generator_for(seed, 1, "p", 0, "reward")
    )
    return [s.reward for s in scores]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("ground_truth", [1, 0, 0, 1]),
        ("format", [1, 1, 0, 0]),
        ("python", [1, 0, 0, 0]),
        ("no_python", [0, 1, 1, 1]),
        ("constant", [1, 1, 1, 1]),
        ("constant(0.25)", [0.25] * 4),
        ("random(0)", [0, 0, 0, 0]),
        ("random(1)", [1, 1, 1, 1]),
        ({"all": ["ground_truth", "format"]}, [1, 0, 0, 0]),
        ({"all": ["ground_truth", "no_python"]}, [0, 0, 0, 1]),
        ({"not": "ground_truth"}, [0, 1, 1, 0]),
        ({"not": {"all": ["format", "no_python"]}}, [1, 0, 1, 1]),
        ({"weighted_sum": [[1.0, "ground_truth"], [0.5, "format"]]}, [1.5, 0.5, 0, 1]),
    ],
)
def test_by_hand(spec, expected):
    assert rewards_of(spec) == expected


def test_random_by_hand():
    rng = generator_for(5, 1, "p", 0, "reward")
    expected = [float(u < 0.4) for u in rng.random(4)]
    assert rewards_of("random(0.4)", seed=5) == expected


def test_shuffle_by_hand():
    rng = generator_for(5, 1, "p", 0, "reward")
    _, order_rng = rng.spawn(2)
    base = [1.0, 0.0, 0.0, 1.0]
    expected = [base[i] for i in order_rng.permutation(4)]
    assert rewards_of("shuffle(ground_truth)", seed=5) == expected


def test_correct_is_recorded_beside_every_reward():
    for spec in ("format", "random(0.5)", "shuffle(format)", "constant", "no_python"):
        scores = build(parse(spec))(make_group(TEXTS), generator_for(0, 1, "p", 0, "reward"))
        assert [s.correct for s in scores] == [True, False, False, True]
        assert [s.status for s in scores][2] is Status.NO_ANSWER


def test_unknown_is_never_zero():
    texts, unreadable = ["\\boxed{x+1}", "\\boxed{7}", "no"], "\\div"
    assert rewards_of("ground_truth", texts, gold=unreadable) == [None, None, 0]
    assert rewards_of("format", texts, gold=unreadable) == [1, 1, 0]
    assert rewards_of({"not": "ground_truth"}, texts, gold=unreadable) == [None, None, 1]
    both = {"all": ["ground_truth", "no_python"]}
    assert rewards_of(both, texts, gold=unreadable) == [None, None, 0]
    # a part that is known to be 0 decides
    assert rewards_of({"all": ["ground_truth", "python"]}, texts, gold=unreadable) == [0, 0, 0]
    total = {"weighted_sum": [[1, "ground_truth"], [1, "format"]]}
    assert rewards_of(total, texts, gold=unreadable) == [None, None, 0]
    shuffled = rewards_of("shuffle(ground_truth)", texts, gold=unreadable)
    assert sorted(map(str, shuffled)) == ["0.0", "None", "None"]


@given(st.integers(0, 2**63), st.lists(st.sampled_from(TEXTS), min_size=1, max_size=16))
def test_shuffle_keeps_the_scores_and_repeats(seed, texts):
    plain = rewards_of("ground_truth", texts)
    shuffled = rewards_of("shuffle(ground_truth)", texts, seed)
    assert sorted(shuffled) == sorted(plain)
    assert shuffled == rewards_of("shuffle(ground_truth)", texts, seed)


def test_shuffle_carries_no_information():
    texts = TEXTS * 4
    plain = np.array(rewards_of("ground_truth", texts))
    draws = np.array([rewards_of("shuffle(ground_truth)", texts, s) for s in range(2000)])
    means = draws.mean(axis=0)  # of each place: half of the scores are 1
    assert np.abs(means - 0.5).max() < 0.05
    # the covariance with the truth within a group is 0 but for the fixed sum: −var/(G−1) each
    assert abs(np.mean((draws - 0.5) * (plain - 0.5))) < 0.005


@given(st.floats(0, 1), st.integers(0, 2**63))
def test_random_is_a_function_of_its_seed(rate, seed):
    spec = {"random": [rate]}
    one = rewards_of(spec, seed=seed)
    assert one == rewards_of(spec, seed=seed)
    assert set(one) <= {0.0, 1.0}


def test_random_has_its_rate_and_differs_between_groups():
    draws = np.array([rewards_of("random(0.3)", TEXTS * 4, s) for s in range(1000)])
    assert abs(draws.mean() - 0.3) < 0.015
    assert len({tuple(d) for d in draws}) > 900


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8), st.data())
def test_rewards_do_not_depend_on_the_order_of_the_group(texts, data):
    order = data.draw(st.permutations(range(len(texts))))
    for spec in ("ground_truth", "format", "python", "no_python", "constant"):
        plain = rewards_of(spec, texts)
        assert rewards_of(spec, [texts[i] for i in order]) == [plain[i] for i in order]


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8))
def test_composition_laws(texts):
    assert rewards_of({"not": {"not": "format"}}, texts) == rewards_of("format", texts)
    both = rewards_of({"all": ["ground_truth", "format"]}, texts)
    parts = zip(rewards_of("ground_truth", texts), rewards_of("format", texts), strict=True)
    assert both == [a * b for a, b in parts]


def test_parts_are_recorded():
    spec = {"weighted_sum": [[1.0, "ground_truth"], [0.5, "format"]]}
    score = build(spec)(make_group(TEXTS), generator_for(0, 1, "p", 0, "reward"))[1]
    assert score == Score(0.5, False, {"0": 0.0, "1": 1.0}, Status.OK)


def test_spelling_does_not_change_a_reward():
    assert parse("random") == parse("random(0.50)") == {"random": [0.5]}
    assert parse(" shuffle( random(0.7) ) ") == {"shuffle": [{"random": [0.7]}]}
    assert canonical({"not": "format"}) == canonical({"not": ["format"]})
    for text in ("ground_truth", "random(0.5)", "shuffle(random(0.7))", "constant(1)"):
        assert describe(parse(text)) == text


def test_files(tmp_path):
    spec = {"all": ["ground_truth", {"not": "python"}]}
    (tmp_path / "r.json").write_text(json.dumps(spec))
    (tmp_path / "r.toml").write_text('[reward]\nall = ["ground_truth", { not = "python" }]\n')
    one, two = parse(str(tmp_path / "r.json")), parse(str(tmp_path / "r.toml"))
    assert one == two
    assert describe(one) == "all(ground_truth,not(python))"
    assert rewards_of(one) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ground_thruth", "did you mean 'ground_truth'"),
        ("random(1.5)", "between 0 and 1"),
        ("random(-0.1)", "between 0 and 1"),
        ("random(nan)", "not a finite number"),
        ("random(0.5,0.5)", "takes one number"),
        ("random(ground_truth)", "takes one number"),
        ("shuffle", "takes one reward"),
        ("shuffle(shufle)", "unknown reward 'shufle'"),
        ("ground_truth(1)", "takes no argument"),
        ("all(format)", "takes 2 or more"),
        ("weighted_sum(1)", "takes pairs"),
        ("constant(inf)", "not a finite number"),
        ("shuffle(" * 2000 + "format" + ")" * 2000, "nested too deeply"),
        ("", "write a name"),
        ("a b", "write a name"),
        ("none.json", "cannot be read"),
        ("shuffle(ground_truth", "write a name"),
    ],
)
def test_mistakes_are_one_line(text, message):
    with pytest.raises(PlaceboError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "3",
        "[]",
        '{"a": 1, "b": 2}',
        '{"nope": 1}',
        "null",
        '{"weighted_sum": [[NaN, "format"]]}',
        '{"weighted_sum": ["ab"]}',
    ],
)
def test_wrong_files(tmp_path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(PlaceboError):
        parse(str(tmp_path / "r.json"))


def test_every_reward_is_listed_with_a_sentence():
    for entry in REWARDS.values():
        assert entry.summary.endswith(".")
        assert "\n" not in entry.summary
