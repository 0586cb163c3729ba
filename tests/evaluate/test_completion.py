"""The probe of contamination, against an engine whose answers are known."""

import re

import numpy as np
import pytest

from rlvr_placebo.core.records import Completion, Finish
from rlvr_placebo.evaluate.completion import completions_of, cut
from rlvr_placebo.text.pocket import pocket_set


@pytest.mark.parametrize(
    ("question", "shown", "hidden"),
    [
        ("a b c d e", "a b c", " d e"),
        ("a  b\nc d", "a  b\nc", " d"),
        ("one two", "one", " two"),
        ("1 2 3 4 5 6 7 8 9 10", "1 2 3 4 5 6", " 7 8 9 10"),
    ],
)
def test_cut(question, shown, hidden):
    assert cut(question) == (shown, hidden)
    assert "".join(cut(question)) == question


def test_every_pocket_problem_hides_three_numbers_no_one_can_guess():
    met = []
    for name in ("pocket-500", "pocket-fresh@3", "pocket-new", "pocket-hard", "pocket-train@500"):
        for problem in pocket_set(name):
            _, hidden = cut(problem.question)
            day, hour, minute = map(int, re.findall(r"\d+", hidden)[-3:])
            met.append((day, hour, minute))
    days, hours, minutes = np.array(met).T
    # drawn alike from all days, hours and minutes: means and spreads of the uniform ones
    for values, size in ((days - 1, 365), (hours, 24), (minutes, 60)):
        assert abs(values.mean() - (size - 1) / 2) < 0.03 * size
        assert values.std() == pytest.approx(size / 12**0.5, rel=0.04)
        assert len(set(values)) > 0.98 * size


class Echo:
    """Writes what it was told to, whatever it is shown."""

    name = "echo"
    block = 64

    def __init__(self, texts):
        self.texts = list(texts)
        self.shown = []

    def generate(self, prompts_P, sampling, seeds_P_G, finished=None):
        assert sampling.temperature == 0
        self.shown += prompts_P
        zeros = np.zeros(1, dtype=np.float32)
        whole = np.ones(1, dtype=np.int32)
        return [
            [Completion(whole, zeros, zeros, whole == 1, whole, zeros, Finish.STOP,
                        self.texts.pop(0), 0)]
            for _ in prompts_P
        ]  # fmt: skip

    def load_weights(self, state, version):
        raise AssertionError


def test_word_for_word_is_every_word(shipped):
    problems = pocket_set("pocket-500")[:4]
    hidden = [cut(p.question)[1] for p in problems]
    spoken = [hidden[0], hidden[1] + "\nLet me think.", hidden[2][:-3] + "99)", ""]
    engine = Echo(spoken)
    found = completions_of(engine, shipped.tokenizer, problems)
    assert [c.word_for_word for c in found] == [True, True, False, False]
    assert all(c.numbers >= 3 for c in found)
    assert shipped.tokenizer.decode(engine.shown[0]) == cut(problems[0].question)[0]
