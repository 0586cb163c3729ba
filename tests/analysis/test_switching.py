"""Strategy switching: the paper's counts, and what noise alone looks like."""

import numpy as np
import pytest

from rlvr_placebo.analysis.switching import (
    CELLS,
    Answers,
    accuracy_before,
    contributions,
    switching,
)

COUNTS = "figure7_strategy_switch_qwen2.5-math-7b_step0_to_150"
REWARDS = ("ground_truth", "majority_vote", "random(0.5)", "incorrect", "format")


def test_contributions_are_those_of_figure_7(paper):
    found = contributions(paper[COUNTS]["random(0.5)"])
    assert [round(found[cell], 1) for cell in CELLS] == [19.1, -1.8, 75.5, 7.3]


def test_their_mean_over_rewards_is_table_2(paper):
    rows = [contributions(paper[COUNTS][reward]) for reward in REWARDS]
    mean = [round(sum(row[cell] for row in rows) / len(rows), 1) for cell in CELLS]
    assert mean == [11.6, 8.6, 58.3, 21.4]
    assert mean == paper["table2_contribution_percent"]["Qwen2.5-Math-7B"]


def test_language_was_right_in_28_per_cent_where_table_1_prints_35(paper):
    for reward in REWARDS:
        assert round(100 * accuracy_before(paper[COUNTS][reward], "language"), 1) == 28.0
    assert round(100 * accuracy_before(paper[COUNTS]["random(0.5)"], "code"), 1) == 60.9


def test_nothing_gained_cannot_be_shared_out():
    with pytest.raises(ValueError, match="nothing to share out"):
        contributions({"code_code": (10, 5, 5), "language_code": (3, 1, 1)})


def answers(rng, code, right_code, right_words, problems=400, samples=8):
    shown = rng.random((problems, samples)) < code
    right = rng.random((problems, samples)) < np.where(shown, right_code, right_words)
    return Answers(shown, right, tuple(str(i // 5) for i in range(problems)))


def test_cells_add_up_and_the_control_gains_nothing():
    rng = np.random.default_rng(0)
    before = answers(rng, 0.6, 0.6, 0.3)
    after = [answers(rng, 0.95, 0.6, 0.3) for _ in range(3)]
    found = switching(before, [(before, a) for a in after])
    cells = found["cells"]
    assert sum(c["n"] for c in cells.values()) == 3 * 400 * 8
    gain = sum(c["correct_after"] - c["correct_before"] for c in cells.values())
    assert gain == sum(int(a.correct_P_N.sum() - before.correct_P_N.sum()) for a in after)
    shares = {cell: c["contribution"]["value"] for cell, c in cells.items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["language_code"] > 0.7  # words → code carries it, by construction
    assert all(c["contribution"] is None for c in found["control"].values())


def test_without_training_cells_move_by_chance_alone_and_the_control_shows_it():
    """Problems of different difficulty: those in code now are not the same in the next draw."""
    rng = np.random.default_rng(1)
    before, after = answers(rng, 0.5, 0.6, 0.3), answers(rng, 0.5, 0.6, 0.3)
    found = switching(before, [(before, after)])
    for cell in CELLS:
        seen, control = found["cells"][cell], found["control"][cell]
        moves = [(c["correct_after"] - c["correct_before"]) / c["n"] for c in (seen, control)]
        assert moves[0] == pytest.approx(moves[1], abs=0.07)
    # answers that were in words and are in code now gain without any training
    assert found["control"]["language_code"]["correct_after"] > (
        1.5 * found["control"]["language_code"]["correct_before"]
    )


def test_greedy_has_no_control():
    rng = np.random.default_rng(2)
    before = answers(rng, 0.5, 0.6, 0.3, samples=1)
    assert switching(before, [(before, before)])["control"] is None
