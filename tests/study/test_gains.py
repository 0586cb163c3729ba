"""Gains from made-up evaluations, by hand."""

import math

import pyarrow as pa
import pytest

from rlvr_placebo.analysis import arms
from rlvr_placebo.analysis.arms import gains, samples
from rlvr_placebo.analysis.summary import summarize
from rlvr_placebo.evaluate.evaluate import _schema


def table(marks, code=None, temperature=1.0):
    """One row per mark: (problem, cluster, correct)."""
    rows = [
        {"benchmark": "b", "temperature": temperature, "problem_id": p, "cluster": c,
         "correct": m, "code": bool(code and code[i]), "sample": i, "finish": "stop", "length": 5,
         "words": 3 + i, "boxed": True, "python_mentioned": False, "repetition": False,
         "other_language": False, "marker": i == 0, "mean_probability": 0.5}
        for i, (p, c, m) in enumerate(marks)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_schema())


class MadeUp:
    """A run directory that answers from memory."""

    def __init__(self, seed, before, after, digest="d", prompt="p", variant="plain",
                 measurement="m"):  # fmt: skip
        contract = {"benchmark": "b", "decodings": [{"temperature": 1.0, "samples": 1}],
                    "measurement": measurement, "prompt": prompt, "template": prompt}  # fmt: skip
        self.config = {"model": "m", "model_digest": digest, "reward_name": "r", "variant": variant,
                       "seed": seed, "steps": 9, "contracts": [contract],
                       "trains_on_test": []}  # fmt: skip
        self.path = f"run-{seed}"
        self.tables = {0: before, 9: after}

    def evaluation(self, step):
        return self.tables[step]

    def metrics(self, kind):
        return [{"contracts": self.config["contracts"]}]


def test_by_hand():
    before = table([("p", "A", True), ("q", "B", False)])
    runs = [
        MadeUp(1, before, table([("p", "A", True), ("q", "B", True)], code=[True, True])),
        MadeUp(2, before, table([("p", "A", True), ("q", "B", False)], code=[True, False])),
    ]
    (entry,) = gains(runs)
    assert (entry["base"], entry["final"], entry["gain"]) == (50.0, 75.0, 25.0)
    assert entry["gain_by_seed"] == [50.0, 0.0]
    # problems: gains 0 and 1/2, s/√2 = 1/4; seeds: gains 1/2 and 0, s/√2 = 1/4
    assert entry["stderr"] == pytest.approx(100 * math.sqrt(2 * 0.25**2))
    assert entry["error_contains"] == ["problems", "seeds"]
    # both parts have an error of 25 points and one degree of freedom: t = 12.7062 for each
    half = 12.7062 * entry["stderr"]
    assert entry["interval"] == pytest.approx([25.0 - half, 25.0 + half], rel=1e-4)
    # base: 1/2 in both seeds, problems 1 and 0: s/√2 = 1/2
    assert entry["base_stderr"] == pytest.approx(50.0)
    assert (entry["code_frequency_before"], entry["code_frequency_after"]) == (0.0, 0.75)
    assert (entry["n"], entry["clusters"], entry["unknown"]) == (2, 2, 0)
    assert entry["gain_bounds"] == [25.0, 25.0]


def test_unknown_leaves_both_ends_and_is_bounded():
    before = table([("p", "A", False), ("q", "B", None), ("r", "C", True)])
    after = table([("p", "A", True), ("q", "B", True), ("r", "C", None)])
    (entry,) = gains([MadeUp(1, before, after)])
    assert (entry["base"], entry["final"], entry["gain"], entry["n"]) == (0.0, 100.0, 100.0, 1)
    assert entry["unknown"] == 2
    assert entry["stderr"] is None
    assert entry["error_contains"] == []
    assert entry["gain_bounds"] == [pytest.approx(0.0), pytest.approx(200 / 3)]


def test_nothing_judged_is_no_number():
    nothing = table([("p", "A", None)])
    (entry,) = gains([MadeUp(1, nothing, nothing)])
    assert entry["gain"] is entry["base"] is entry["stderr"] is None
    assert entry["gain_bounds"] == [-100.0, 100.0]


def test_other_weights_under_the_same_name_are_refused():
    t = table([("p", "A", True)])
    with pytest.raises(arms.PlaceboError, match="model m is not the same"):
        gains([MadeUp(1, t, t), MadeUp(2, t, t, digest="other")])


def test_seeds_and_their_gains_stand_in_one_order():
    none = table([("p", "A", False), ("q", "B", False)])
    half = table([("p", "A", True), ("q", "B", False)])
    (entry,) = gains([MadeUp(2, none, half), MadeUp(1, none, none)])
    assert (entry["seeds"], entry["gain_by_seed"]) == ([1, 2], [0.0, 50.0])


def test_arms_may_have_prompts_of_their_own_but_one_measurement():
    t = table([("p", "A", True)])
    entries = gains([MadeUp(1, t, t), MadeUp(1, t, t, prompt="q", variant="asked")])
    assert [(e["variant"], e["template"]) for e in entries] == [("plain", "p"), ("asked", "q")]
    with pytest.raises(arms.PlaceboError, match="prompt of b is not the same"):
        gains([MadeUp(1, t, t), MadeUp(2, t, t, prompt="q")])
    with pytest.raises(arms.PlaceboError, match="benchmark b is not the same"):
        gains([MadeUp(1, t, t), MadeUp(1, t, t, variant="other", measurement="n")])


def test_samples_average_within_a_problem():
    s = samples(table([("p", "A", True), ("p", "A", False), ("q", "B", None)]), "b", 1.0)
    assert s.correct_P[0] == 0.5
    assert math.isnan(s.correct_P[1])
    assert (s.low_P.tolist(), s.high_P.tolist()) == ([0.5, 0.0], [0.5, 1.0])


def test_summary_by_hand():
    marks = [("p", "A", True), ("q", "A", False), ("r", "B", None), ("s", "B", True)]
    (entry,) = summarize(table(marks, code=[True, False, False, False]))
    assert entry["accuracy"]["value"] == pytest.approx(2 / 3)
    assert entry["accuracy_bounds"] == [0.5, 0.75]
    assert entry["unknown"] == 1
    code, marker = entry["behaviours"]["code"], entry["behaviours"]["marker"]
    assert code["frequency"]["value"] == 0.25
    assert code["accuracy_with"]["value"] == 1.0
    assert code["accuracy_without"]["value"] == 0.5
    assert (marker["frequency"]["value"], marker["accuracy_with"]["value"]) == (0.25, 1.0)
    # words 3, 4, 5, 6: two are longer than the median of 4.5, one of them judged
    long = entry["behaviours"]["long"]
    assert (long["frequency"]["value"], long["accuracy_with"]["value"]) == (0.5, 1.0)
    assert entry["code_detectors_disagree"]["value"] == 0.25
    assert entry["token_probability"]["value"] == 0.5
    (greedy,) = summarize(table(marks, temperature=0.0))
    assert greedy["token_probability"]["value"] is None
    code = greedy["behaviours"]["code"]
    assert code["accuracy_with"]["value"] is None  # no solution in code: no number
