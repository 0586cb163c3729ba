"""The probe: a memoriser is found out, others are not; its numbers by hand; the prompt sweep."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_placebo.analysis.prompts import halves
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.statistics import Estimate, share_interval
from rlvr_placebo.evaluate.completion import Continuation, completions_of
from rlvr_placebo.evaluate.probe import _surprise, contrast, estimate
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.text.pocket import pocket_set


@pytest.mark.parametrize(
    ("hidden", "written", "f"),
    [
        ("a b c", "a b c d e", 1.0),
        ("a b c", "x y z", 0.0),
        ("a b c d", "a x c", 2 * 2 / 7),  # a, c; 4 hidden words and 3 written
        ("a b", "b a", 0.5),
        ("a b", "", 0.0),
    ],
)
def test_rouge_by_hand(hidden, written, f):
    assert Continuation("p", hidden, written, 0).rouge_l == pytest.approx(f)


def test_exact_intervals_of_shares():
    low, high = share_interval(Estimate(0.0, 0.0, 500, 77, "template"))
    assert (low, round(high, 3)) == (0.0, 0.047)  # 1 - 0.025^(1/77)
    low, high = share_interval(Estimate(1.0, 0.0, 10, 10, "template"))
    assert (round(low, 4), high) == (0.6915, 1.0)
    assert share_interval(Estimate(None, None, 0, 0, "template")) is None


def test_surprise_is_minus_the_mean_log_probability(shipped):
    prompts, texts = [[5, 6], [7]], [[8, 9, 10], [11, 12]]
    found = _surprise(shipped, prompts, texts)
    for prompt, text, value in zip(prompts, texts, found, strict=True):
        tokens = torch.tensor([prompt + text])
        logits = shipped.model.logits(shipped.model(tokens, torch.arange(tokens.shape[1])[None]))
        lp = torch.log_softmax(logits[0], -1).detach()
        place = range(len(prompt) - 1, tokens.shape[1] - 1)
        wanted = -np.mean([float(lp[i, t]) for i, t in zip(place, text, strict=True)])
        assert value == pytest.approx(wanted, abs=1e-4)


def probed(model, out, capsys):
    arguments = ["probe", "--model", model, "--benchmark", "pocket-500", "--out", str(out),
                 "--shares", "0.6", "--json"]  # fmt: skip
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)["benchmarks"]
    return {
        name: {e["measure"]: e for e in entries if e["share"] == 0.6}
        for name, entries in found.items()
    }


def test_the_memoriser_is_found_out_and_no_one_else(tmp_path, capsys):
    guilty = probed("pocket/memoriser", tmp_path / "m", capsys)
    innocent = probed("pocket/code-prior", tmp_path / "c", capsys)
    seen, clean = guilty["pocket-500"], guilty["pocket-fresh@7001"]
    for measure in ("word for word", "ROUGE-L", "right answer"):
        assert seen[measure]["interval"][0] > clean[measure]["interval"][1], measure
        assert seen[measure]["interval"][0] > innocent["pocket-500"][measure]["interval"][1]
    assert seen["word for word"]["interval"][0] > 0.5
    one, other = (innocent[n]["word for word"]["interval"] for n in innocent)
    assert one[1] < 0.05
    assert other[1] < 0.05


def test_a_probe_is_kept_and_mistakes_are_told(tmp_path, capsys):
    start = ["probe", "--model", "pocket/no-code", "--out", str(tmp_path / "p")]
    small = tmp_path / "small.jsonl"
    small.write_text('{"problem": "What is 1 plus 1 here?", "answer": 2}\n')
    arguments = [*start, "--benchmark", str(small), "--clean", "pocket-500", "--shares", "0.5"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert capsys.readouterr().out == first
    tiny = tmp_path / "tiny.jsonl"
    tiny.write_text('{"problem": "1+1", "answer": 2}\n')
    for more, said in (
        (["--benchmark", str(tiny), "--clean", "pocket-500"], "has no problem of 3 words or more"),
        (["--benchmark", "pocket-500", "--clean", "pocket-500"], "is the set in question"),
        (["--benchmark", "pocket-500", "--shares", "1.0"], "shares must lie in"),
        (["--benchmark", "pocket-500", "--max-tokens", "9999"], "lower max_tokens"),
    ):
        assert main([*start[:-1], str(tmp_path / "other"), *more]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1


def test_intervals_of_clustered_shares_stay_within_bounds_and_cover():
    alone = estimate([1.0] + [0.0] * 29, [str(i) for i in range(30)])
    low, high = alone["interval"]  # binomial, 1 of 30: 0.08 to 17.2 %
    assert (low, high) == (pytest.approx(0.0008, abs=1e-4), pytest.approx(0.172, abs=1e-3))
    twins = estimate([1.0] * 2 + [0.0] * 58, [str(i // 2) for i in range(60)])
    assert twins["interval"][1] == pytest.approx(high, abs=0.01)  # worth 30 problems, not 60
    assert estimate([0.5, 0.7], ["a", "a"])["interval"] is None  # a mean of one cluster
    covered, rng = 0, np.random.default_rng(3)
    for _ in range(400):
        rates = rng.beta(1, 9, 40)  # 40 clusters of 5 around 10 %
        values = (rng.random((40, 5)) < rates[:, None]).astype(float).ravel()
        low, high = estimate(list(values), [str(i // 5) for i in range(200)])["interval"]
        covered += low <= 0.1 <= high
    assert covered >= 0.93 * 400


def test_the_difference_to_the_clean_set_by_hand():
    one = {"value": 0.9, "interval": (0.8, 0.95)}
    other = {"value": 0.1, "interval": (0.0, 0.3)}
    found = contrast(one, other)
    assert found["value"] == pytest.approx(0.8)
    low, high = found["interval"]
    assert low == pytest.approx(0.8 - (0.1**2 + 0.2**2) ** 0.5)
    assert high == pytest.approx(0.8 + (0.05**2 + 0.1**2) ** 0.5)
    assert contrast(one, {"value": 0.1, "interval": None})["interval"] is None


def test_a_neighbour_does_not_lengthen_an_answer(shipped):
    problems = pocket_set("pocket-500")[:6]
    engine = NativeEngine(shipped.model, shipped.tokenizer)
    few = completions_of(engine, shipped.tokenizer, problems[:1], 0.6, 8)
    longer = replace(problems[1], messages=({"role": "user", "content": "x " * 80},))
    more = completions_of(engine, shipped.tokenizer, [problems[0], longer], 0.6, 8)
    assert few[0].written == more[0].written


def test_halves_share_no_cluster():
    problems = pocket_set("pocket-500")
    one, other = halves({p.id: p.cluster for p in problems})
    clusters = [{p.cluster for p in problems if p.id in half} for half in (one, other)]
    assert not clusters[0] & clusters[1]
    assert len(one) + len(other) == 500
    assert 150 < len(one) < 350


def test_the_prompt_sweep_chooses_on_one_half_and_scores_on_the_other(tmp_path, capsys):
    out = tmp_path / "s"
    arguments = ["prompts", "--model", "pocket/code-prior", "--benchmark", "pocket-fresh@5",
                 "--templates", "nonsense", "plain", "chat", "--temperatures", "0",
                 "--out", str(out)]  # fmt: skip
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "plain *" in said
    assert "left out: chat: " in said
    found = json.loads((out / "prompts.json").read_text())
    assert found["chosen"]["template"] == "plain"  # what it was pre-trained on
    plain, nonsense = (next(c for c in found["cells"] if c["template"] == t)
                       for t in ("plain", "nonsense"))  # fmt: skip
    assert plain["choice"]["value"] > nonsense["choice"]["value"] + 0.2
    assert plain["choice"]["n"] + plain["score"]["n"] == 500
    single = tmp_path / "single.jsonl"
    single.write_text('{"problem": "What is 1 plus 1?", "answer": 2}\n')
    (out / "result.json").unlink()
    (out / "prompts.json").unlink()
    assert main([*arguments, "--resume"]) == 0
    assert json.loads((out / "prompts.json").read_text()) == found
    for more, told in ((["--templates", "plain", "plain"], "none twice"),
                       (["--templates", "chat"], "no template is left"),
                       (["--benchmark", str(single)], "cannot be halved")):  # fmt: skip
        start = ["prompts", "--model", "pocket/code-prior", "--benchmark", "pocket-500"]
        assert main([*start, *more, "--out", str(tmp_path / "x")]) == 2
        assert told in capsys.readouterr().err
