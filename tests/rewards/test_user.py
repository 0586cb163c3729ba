"""A user's own function: both signatures, and whatever it may do wrong."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import make_group
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Status
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.rewards.spec import build, describe, parse, user_code

TEXTS = [r"short \boxed{7}", r"a much longer one: \boxed{8}", "nothing"]

CODE = r"""
import math
from rlvr_placebo.core.records import Score

def one(rollout):
    return 1.0 if "much" in rollout.completion.text else 0.0

def ours(group, rng):
    return [len(r.completion.text) for r in group.rollouts]

def no_rng(group):
    return [1] * len(group.rollouts)

def drawn(group, rng):
    return rng.random(len(group.rollouts))

def scores(group, rng):
    return [Score(0.5, None, {"length": 3.0}) for _ in group.rollouts]

def trl(prompts, completions, completion_ids, answer, **kwargs):
    assert kwargs["trainer_state"] is None and len(kwargs["problem_id"]) == len(prompts)
    return [float(a in c and len(i) > 0) for c, a, i in zip(completions, answer, completion_ids)]

def short_trl(completions):
    return [float(len(c)) for c in completions]

async def patient(prompts, completions, **kwargs):
    return [1.0 for _ in completions]

def odd(group, rng):
    return [math.nan, None, math.inf]

def raises(rollout):
    return 1 / 0

def few(group, rng):
    return [1.0]

def nothing(group, rng):
    return None

def words(group, rng):
    return ["good", "bad", "ugly"]

def text(group, rng):
    return "abc"

def booleans(group, rng):
    return [True, False, True]

def arrays(group, rng):
    import numpy
    return numpy.array([1, 0, 1], dtype=numpy.int8)

def strange(a, b):
    return [1, 2, 3]

number = 3


class Ugly:
    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


def leaves(rollout):
    import sys

    sys.exit(0)


def ends(rollout):
    raise GeneratorExit


def huge(rollout):
    return 10**400


def ugly(rollout):
    return Ugly()


def ugly_error(rollout):
    raise ValueError(Ugly())


def point(group, rng):
    import numpy

    return numpy.array(1.0)


def odd_set(group, rng):
    return {1, 2, 3}


def number_text(rollout):
    return "1.0"


def lines(rollout):
    return "a\nb"


def odd_parts(group, rng):
    return [Score(1.0, None, {"a": object()}) for _ in group.rollouts]


def no_parts(group, rng):
    return [Score(1.0, None, None) for _ in group.rollouts]


def meddles(rollout):
    rollout.completion.tokens[:] = 5
    return 1.0


def wants(prompts, completions, target):
    return [1.0] * len(completions)


def wants_weight(rollout, weight):
    return 1.0


def with_default(rollout, weight=2.0):
    return weight
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return str(path)


def score(reference, seed=0):
    return build(parse(reference))(make_group(TEXTS), generator_for(seed, 1, "p", 0, "reward"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one", [0, 1, 0]),
        ("ours", [len(t) for t in TEXTS]),
        ("no_rng", [1, 1, 1]),
        ("trl", [1, 0, 0]),
        ("short_trl", [len(t) for t in TEXTS]),
        ("patient", [1, 1, 1]),
        ("odd", [None, None, None]),
        ("booleans", [1, 0, 1]),
        ("arrays", [1, 0, 1]),
        ("scores", [0.5] * 3),
        ("huge", [None] * 3),
        ("with_default", [2.0] * 3),
    ],
)
def test_signatures(mine, name, expected):
    scores = score(f"{mine}:{name}")
    assert [s.reward for s in scores] == expected
    assert [s.correct for s in scores] == [True, False, False]  # the verifier's, whatever it says
    assert all(type(s.reward) in (float, type(None)) for s in scores)


def test_not_a_number_is_counted_and_none_is_unknown(mine):
    nan, none, infinite = score(f"{mine}:odd")
    assert (nan.status, none.status, infinite.status) == (Status.ERROR, Status.OK, Status.ERROR)
    assert score(f"{mine}:scores")[0].parts == {"length": 3.0}


def test_our_generator_is_the_only_chance(mine):
    draws = [s.reward for s in score(f"{mine}:drawn", seed=3)]
    assert draws == generator_for(3, 1, "p", 0, "reward").random(3).tolist()


def test_it_composes_like_any_other(mine):
    spec = parse(f"shuffle({mine}:one)")
    assert describe(spec) == f"shuffle({mine}:one)"
    rewards = [s.reward for s in build(spec)(make_group(TEXTS), np.random.default_rng(0))]
    assert sorted(rewards) == [0, 0, 1]
    assert list(user_code(spec)) == [f"{mine}:one"]
    both = build({"all": [f"{mine}:one", "format"]})
    assert [s.reward for s in both(make_group(TEXTS), np.random.default_rng(0))] == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", r"failed on problem .*: ZeroDivisionError: .*\(mine.py:\d+\)"),
        ("few", "gave 1 rewards for 3 completions"),
        ("nothing", "gave NoneType, a list of numbers is wanted"),
        ("words", "gave 'good' for a completion"),
        ("text", "gave str, a list"),
        ("leaves", "SystemExit"),
        ("ends", "GeneratorExit"),
        ("ugly", "gave '' for a completion"),
        ("ugly_error", "failed on problem .*: ValueError"),
        ("point", "gave ndarray, a list of numbers"),
        ("odd_set", "gave set, a list of numbers"),
        ("number_text", "gave '1.0' for a completion"),
        ("lines", "gave 'a b' for a completion"),
        ("odd_parts", "for a completion, a number or None"),
        ("no_parts", "parts are no mapping"),
        ("meddles", "read-only"),
        ("wants", r"asks for target; there are answer, cluster"),
    ],
)
def test_what_goes_wrong_while_scoring_is_one_line(mine, name, message):
    with pytest.raises(PlaceboError, match=message) as caught:
        score(f"{mine}:{name}")
    assert f"{mine}:{name}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("{}:missing", "missing does not exist in"),
        ("{}:number", "number is no function in"),
        ("{}:wants_weight", r"takes \(rollout, weight\); write f\(rollout\)"),
        ("{}:strange", r"takes \(a, b\); write f\(rollout\), f\(group, rng\), or f\(prompts"),
        ("nowhere.py:f", "reward file nowhere.py: there is none"),
        ("no.such.module:f", "there is no module no.such.module"),
        ("json:nothing", "nothing does not exist in json"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(mine, reference, message):
    with pytest.raises(PlaceboError, match=message) as caught:
        parse(reference.format(mine))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(:\n  pass", "its file fails: SyntaxError"),
        ("1/0\ndef f(rollout): return 1", "its file fails: ZeroDivisionError"),
        ("import nowhere_at_all\ndef f(rollout): return 1", "nowhere_at_all"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_file_that_fails_is_one_line(tmp_path, code, message):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(PlaceboError, match=message) as caught:
        parse(f"{tmp_path / 'bad.py'}:f")
    assert "\n" not in str(caught.value)


def test_a_module_will_do(mine, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [s.reward for s in score("mine:one")] == [0, 1, 0]
    (digest,) = user_code("mine:one").values()
    assert digest == user_code(f"{mine}:one")[f"{mine}:one"]
    assert math.isfinite(int(digest, 16))


def test_it_knows_what_it_imports_from_its_own_folder(tmp_path):
    (tmp_path / "near").mkdir()
    (tmp_path / "near/placebo_helper.py").write_text("X = 1.0\n")
    main = tmp_path / "near/withhelp.py"
    main.write_text("from placebo_helper import X\ndef f(rollout):\n    return X\n")
    reference = f"{main}:f"
    assert [s.reward for s in score(reference)] == [1, 1, 1]
    (before,) = user_code(reference).values()
    (tmp_path / "near/placebo_helper.py").write_text("X = 0.0\n")
    (after,) = user_code(reference).values()
    assert before != after


def test_what_lies_beside_is_found_by_the_console_command_too(tmp_path):
    (tmp_path / "mymod.py").write_text("def f(rollout):\n    return 1.0\n")
    command = Path(sys.executable).with_name("placebo")
    for reward, status in (("mymod:f", b"unknown model"), ("mymod:g", b"g does not exist")):
        done = subprocess.run(
            [command, "train", "--model", "pocket/none", "--reward", reward, "--out", "x"],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert status in done.stderr
