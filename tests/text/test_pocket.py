import re
from itertools import combinations, islice

import pytest

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.text.pocket import (
    GRAPHS,
    HARD_GRAPHS,
    HELD_OUT,
    LIMIT,
    PRACTICE_GRAPHS,
    SETS,
    TEMPLATES,
    TRAIN_TEMPLATES,
    arithmetic_steps,
    pocket_set,
    stream,
)
from rlvr_placebo.text.stories import FRAMES, NAMES


@pytest.fixture(scope="module")
def sets():
    return {name: pocket_set(name) for name in SETS}


def test_templates_are_many_different_and_a_fifth_is_held_out():
    assert len(TRAIN_TEMPLATES) >= 64
    assert len(set(TEMPLATES)) == len(TEMPLATES)
    assert 0.18 <= len(HELD_OUT) / len(TEMPLATES) <= 0.22
    assert {arithmetic_steps(g) for g in GRAPHS} == {2, 3, 4}
    # no two frames say anything in the same words, so a template has its sentence frame to itself
    for a, b in combinations(FRAMES.values(), 2):
        assert not {a.start, a.add, a.take, a.times, a.groups, a.each, a.ask} & {
            b.start, b.add, b.take, b.times, b.groups, b.each, b.ask
        }  # fmt: skip


def test_no_problem_occurs_in_two_sets(sets):
    sets["pocket-fresh@7"] = pocket_set("pocket-fresh@7")
    sets["pocket-train@20000"] = pocket_set("pocket-train@20000")
    shown = {
        name: {re.sub("|".join(NAMES), "N", p.question) for p in problems}
        for name, problems in sets.items()
    }
    for a, b in combinations(sets, 2):
        if a.split("@")[0] != b.split("@")[0]:
            assert not {p.id for p in sets[a]} & {p.id for p in sets[b]}, (a, b)
            assert not shown[a] & shown[b], (a, b)  # not under another name either


def test_each_problem_once_and_every_template_met(sets):
    for name, problems in sets.items():
        assert len({p.id for p in problems}) == len(problems), name
    assert {p.cluster for p in sets["pocket-500"]} == {f"{f}:{g}" for f, g in TRAIN_TEMPLATES}
    assert {p.cluster for p in sets["pocket-new"]} == {f"{f}:{g}" for f, g in HELD_OUT}
    held_out = {f"{f}:{g}" for f, g in HELD_OUT}
    for name in ("pocket-train", "pocket-500", "pocket-fresh"):
        assert not {p.cluster for p in sets[name]} & held_out
    assert all(p.difficulty >= 5 for p in sets["pocket-hard"])
    assert all(2 <= p.difficulty <= 4 for p in sets["pocket-500"])


def test_gold_is_what_the_story_tells(sets):
    """Evaluate the story's own numbers again, independently of the generator's bookkeeping."""
    for problems in sets.values():
        for problem in problems[:300]:
            story, stamp = problem.question.split(" (Day ")
            assert len(re.findall(r"\d+", stamp)) == 3
            numbers = [int(n) for n in re.findall(r"\d+", story)]
            value, rest = numbers[0], numbers[1:]
            for operation in problem.extra["graph"]:
                pair = rest[: 2 if operation in "gh" else 1]
                rest = rest[len(pair) :]
                if operation in "gh":
                    value += (1 if operation == "g" else -1) * pair[0] * pair[1]
                else:
                    value = {"+": value + pair[0], "-": value - pair[0], "*": value * pair[0]}[
                        operation
                    ]
                assert 1 <= value <= LIMIT
            assert not rest
            assert problem.golds == (str(value),)


def test_streams_repeat_and_seeds_differ():
    assert [p.id for p in islice(stream("pocket-fresh", 3), 20)] == [
        p.id for p in pocket_set("pocket-fresh@3")[:20]
    ]
    one, two = ({p.id for p in pocket_set(f"pocket-fresh@{s}")} for s in (3, 4))
    assert len(one & two) <= 5  # two draws from one large set
    assert [p.id for p in pocket_set("pocket-train@50")] == [
        p.id for p in pocket_set("pocket-train")[:50]
    ]


def test_known_problem_never_changes():
    problem = pocket_set("pocket-500")[0]
    assert (problem.question, problem.golds, problem.id) == (
        "Ada has 46 hats. Ada sells 45. Ada buys 9 more. How many hats does Ada have now? "
        "(Day 329, 05:55)",
        ("10",),
        "bd2a85411809847a",
    )


def test_practice_for_pretraining_is_in_no_set(sets):
    practice = list(islice(stream("pocket-practice"), 3000))
    assert not set(PRACTICE_GRAPHS) & {*GRAPHS, *HARD_GRAPHS}
    assert {p.extra["graph"] for p in practice} == set(PRACTICE_GRAPHS)
    clusters = {p.cluster for problems in sets.values() for p in problems}
    assert not clusters & {p.cluster for p in practice}


@pytest.mark.parametrize("name", ["pocket-501", "pocket-500@3", "pocket-fresh@x", "pocket-train@0",
                                  "pocket-fresh@-1", "pocket-train@999999999"])  # fmt: skip
def test_wrong_names(name):
    with pytest.raises(PlaceboError):
        pocket_set(name)
