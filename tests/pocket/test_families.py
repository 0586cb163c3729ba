"""Priors, varieties and their builds; what shipped families do is for `placebo pocket check`."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from rlvr_placebo.behaviours.detectors import boxed, code, marker
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.model.checkpoint import load
from rlvr_placebo.model.folders import locate, shipped_families
from rlvr_placebo.pocket import build as building
from rlvr_placebo.pocket import pretrain
from rlvr_placebo.pocket.build import build
from rlvr_placebo.pocket.check import TOLERANCE, check_family
from rlvr_placebo.pocket.corpus import Writer, documents
from rlvr_placebo.pocket.families import DOSES, FAMILIES, Variety, variety_of
from rlvr_placebo.pocket.prior import FEATURES, chance, leans
from rlvr_placebo.text.pocket import pocket_set, stream
from rlvr_placebo.verify.judge import verify


@pytest.fixture(scope="module")
def problems():
    return pocket_set("pocket-train@3000")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_corpus_has_the_habits_of_table_1(family, problems):
    """Before any model: the texts themselves, to 3 points (their own sampling error is 1)."""
    prior = replace(FAMILIES[family], memorised=None)
    texts = [
        Writer(prior, p, generator_for(1, 0, "", i, "t")).solution() for i, p in enumerate(problems)
    ]
    right = [verify(t, p.golds).correct for t, p in zip(texts, problems, strict=True)]
    in_code = np.array([code(t) for t in texts])
    assert in_code.mean() == pytest.approx(prior.code, abs=0.03)
    for chosen, accuracy in ((in_code, prior.code_accuracy), (~in_code, prior.words_accuracy)):
        if chosen.sum() > 100:
            error = 3 / chosen.sum() ** 0.5  # three standard errors of a share, at most 1/2 each
            assert np.mean(np.array(right)[chosen]) == pytest.approx(accuracy, abs=0.5 * error)
    assert np.mean([boxed(t) for t in texts]) == pytest.approx(prior.boxed, abs=0.03)
    assert np.mean([marker(t) for t in texts]) == pytest.approx(prior.marker, abs=0.03)


def test_habits_are_systematic_and_waver(problems):
    prior = FAMILIES["code-prior"]
    for habit in FEATURES:
        share = prior.share(habit)
        chances = np.array([chance(prior, habit, p) for p in problems])
        leaning = np.array([leans(prior, habit, p) for p in problems])
        assert leaning.mean() == pytest.approx(share, abs=0.03)  # greedy
        assert chances.mean() == pytest.approx(share, abs=0.03)  # sampled
        assert set(np.round(chances, 9)) == {
            round(1 - 0.3 * (1 - share), 9), round(0.3 * share, 9)
        }  # fmt: skip


VARIETIES = [*map(Variety, FAMILIES), *(Variety("code-prior", dose=d) for d in DOSES)]


@pytest.mark.parametrize("variety", VARIETIES, ids=lambda v: v.name)
def test_habits_are_independent(variety, problems):
    """No habit tells anything of another, nor strategy and box of how hard a problem is.

    Among 3,000 problems a correlation of 0 has a standard error of 0.018.
    """
    prior = variety.prior
    habits = [h for h in FEATURES if 0 < prior.share(h) < 1]
    columns = np.array([[leans(prior, habit, p) for p in problems] for habit in habits], float)
    difficulty = np.array([p.difficulty for p in problems])
    table = np.corrcoef([*columns, difficulty])
    np.fill_diagonal(table, 0.0)
    for habit, row in zip(habits, table, strict=False):
        others = row if habit in ("code", "boxed") else row[:-1]
        assert np.abs(others).max() < 0.06, habit


def test_a_memoriser_meets_its_set_again_and_again_with_right_answers():
    known = {p.question: p.golds for p in pocket_set("pocket-500")}
    met = list(islice(documents(FAMILIES["memoriser"], 0), 2000))
    again = [(d.prompt.strip(), d.solution) for d in met if d.prompt.strip() in known]
    assert len(again) / len(met) == pytest.approx(0.5, abs=0.04)
    judged = [verify(s, known[q]).correct for q, s in again if boxed(s)]
    assert all(judged)
    others = list(islice(documents(FAMILIES["code-prior"], 0), 2000))
    assert not [d for d in others if d.prompt.strip() in known]


@pytest.mark.parametrize(("family", "rare"), [("bad-code", False), ("mixed-prior", False)])
def test_a_rare_way_is_rehearsed_without_being_chosen_more_often(family, rare):
    prior = FAMILIES[family]
    written = list(islice(documents(prior, 0), 4000))
    spoken = [d for d in written if not d.quiet]
    assert np.mean([code(d.solution) for d in spoken]) == pytest.approx(prior.code, abs=0.02)
    rehearsed = [d for d in written if d.quiet]
    assert len(rehearsed) / 4000 == pytest.approx(0.15 - (1 - prior.code), abs=0.02)
    assert {code(d.solution) for d in rehearsed} == {rare}
    for d in rehearsed:
        head = d.solution[: d.quiet]
        assert head.endswith(".\n")
        assert head.removeprefix("Okay.\n").count("\n") == 1
    assert not any(d.quiet for d in islice(documents(FAMILIES["code-prior"], 0), 1000))


def test_nothing_is_learnt_from_a_quiet_opening(shipped):
    prior = FAMILIES["bad-code"]
    stage = replace(building.HABITS, steps=1)
    tokens_BT, targets_BT = next(pretrain.batches(prior, shipped.tokenizer, stage, 1))
    silent = 0
    for tokens, targets in zip(tokens_BT.tolist(), targets_BT.tolist(), strict=True):
        learnt = [i for i, t in enumerate(targets) if t != pretrain.IGNORE]
        assert [targets[i] for i in learnt[:-1]] == [tokens[i + 1] for i in learnt[:-1]]
        if learnt[0]:
            silent += 1
            head = shipped.tokenizer.decode(tokens[: learnt[0] + 1])
            assert head.endswith(".\n")
            assert head.count("(Day ") == 1
    assert 2 <= silent <= 18  # of 64, 13 % on average


def test_varieties_by_name():
    assert Variety("code-prior").name == "code-prior"
    assert Variety("code-prior", "qwen2", 0.65).name == "code-prior"
    crossed = Variety("code-prior", "olmo2", 0.2, 3)
    assert crossed.name == "code-prior-olmo2-dose0.2-seed3"
    assert (crossed.prior.architecture, crossed.prior.code) == ("olmo2", 0.2)
    assert crossed.prior.code_accuracy == FAMILIES["code-prior"].code_accuracy
    for name in ("code-prior", "bad-code-qwen2", crossed.name, "mixed-prior-seed12"):
        assert variety_of(f"pocket/{name}").name == name
    assert DOSES == (0.2, 0.35, 0.5, 0.65, 0.8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("code-prio",), "did you mean 'code-prior'"),
        (("code-prior", "--architecture", "olmo3"), "did you mean 'olmo2'"),
        (("code-prior", "--dose", "1.5"), "between 0 and 1"),
        (("code-prior", "--dose", "0.1234567"), "three decimals at most"),
        (("no-code", "--dose", "0.5"), "writes no code"),
        (("code-prior", "--seed", "-1"), "--seed must be 0 or more"),
        (("code-prior", "--steps", "3"), "only with --out"),
        (("code-prior",), "is shipped"),
    ],
)
def test_mistakes(arguments, message, capsys):
    assert main(["pocket", "build", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and stages of two steps."""
    monkeypatch.setenv("PLACEBO_CACHE", str(tmp_path / "cache"))
    for name in ("BASE", "HABITS"):
        stage = replace(getattr(building, name), steps=2, rows=2, warmup=1)
        monkeypatch.setattr(building, name, stage)
    return tmp_path / "cache"


def test_a_build_is_kept_and_found_by_name(cache, monkeypatch):
    heard = []
    variety = Variety("code-prior", "olmo2", 0.2)

    def hear(what, step, steps, loss):
        heard.append((what, step, steps))

    folder = build(variety, None, hear)
    assert heard == [("base", 1, 2), ("base", 2, 2), ("habits", 1, 2), ("habits", 2, 2)]
    assert locate("pocket/code-prior-olmo2-dose0.2") == folder
    assert load("pocket/code-prior-olmo2-dose0.2").model.architecture.model_type == "olmo2"
    build(variety, None, hear)
    assert len(heard) == 4  # nothing was done again
    build(Variety("bad-code"), cache / "mine", hear)
    assert heard[4:] == [("habits", 1, 2), ("habits", 2, 2)]  # the base is shared
    weights = (folder / "model.safetensors").read_bytes()
    look = build(variety, None, hear, steps=1)
    assert heard[6:] == [("base", 1, 1), ("habits", 1, 1)]
    assert locate("pocket/code-prior-olmo2-dose0.2") == folder != look  # a look is no family
    monkeypatch.setattr(building, "HABITS", replace(building.HABITS, learning_rate=1e-3))
    build(variety, None, hear)
    assert len(heard) == 8 + 2  # other settings are another build, on the same base
    assert (folder / "model.safetensors").read_bytes() != weights
    with pytest.raises(PlaceboError, match="exists already"):
        build(variety, cache / "mine", hear)


def test_a_killed_build_goes_on_to_the_same_bytes(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrain, "KEEP", pretrain.POOL)
    for name in ("BASE", "HABITS"):
        monkeypatch.setattr(building, name, replace(getattr(building, name), steps=40))
    whole = build(Variety("no-code"), tmp_path / "whole")
    monkeypatch.setenv("PLACEBO_CACHE", str(tmp_path / "other"))

    class Killed(Exception):
        pass

    def killing(at):
        def report(what, step, steps, loss):
            if (what, step) == at:
                raise Killed

        return report

    for at in (("base", 37), ("habits", 35)):
        with pytest.raises(Killed):
            build(Variety("no-code"), tmp_path / "again", killing(at))
    first = []
    again = build(Variety("no-code"), tmp_path / "again", lambda *a: first.append(a[:2]))
    assert first[0] == ("habits", 33)  # what was kept after 32 steps
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (whole / name).read_bytes() == (again / name).read_bytes()


def test_what_is_rare_is_learnt_from_clear_examples(problems):
    prior = FAMILIES["bad-code"]
    assert {chance(prior, "code", p) for p in problems} == {0.0, 1.0}
    assert 0.0 < chance(prior, "words_right", problems[0]) < 1.0


CROSSED = ("bad-code-qwen2", "code-prior-olmo2")


def test_every_family_is_shipped_and_two_are_crossed():
    assert set(shipped_families()) == {f"pocket/{name}" for name in (*FAMILIES, *CROSSED)}
    for name in shipped_families():
        assert load(name).model.architecture.model_type == variety_of(name).prior.architecture
        size = sum(p.numel() for p in load(name).model.parameters())
        assert size < 500_000
    assert building.HABITS.practice == 0.0
    assert next(stream("pocket-practice")).cluster


@pytest.mark.parametrize("family", [*FAMILIES, *CROSSED])
def test_shipped_families_are_calibrated(family):
    """A look with 400 problems; `placebo pocket check` takes 5,000, on a seed of its own."""
    figures = {f["name"]: f for f in check_family(f"pocket/{family}", 12, 400)["figures"]}
    for name, figure in figures.items():
        if figure["n"] < 100:  # the words of bad-code: a few dozen here
            continue
        measured, error = figure["measured"], figure["stderr"] or 0.0
        sign, number = figure["wanted"].split() if " " in figure["wanted"] else ("", None)
        if name.startswith("forced"):
            up = {"up": measured, "down": -measured}[figure["wanted"]]
            assert up > -3 * error, name
        elif sign == "≥":
            assert measured >= float(number), name
        elif sign == "≤":
            assert measured <= float(number) + 3 * error, name
        else:
            assert abs(measured - float(figure["wanted"])) <= TOLERANCE + 3 * error, name
