import math
from itertools import chain

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from conftest import ARCHITECTURES, FOREIGN, make_foreign, random_model, rows_of
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Finish
from rlvr_placebo.core.seeds import seed_for, uniforms
from rlvr_placebo.model.checkpoint import load, save
from rlvr_placebo.model.folders import shipped_families
from rlvr_placebo.model.logprobs import completion_logprobs
from rlvr_placebo.rollout import native, sampler
from rlvr_placebo.rollout.cache import prefill
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.rollout.sampler import draw, sampled_logprobs
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import TEMPLATES, render

NEAR_TIE = 1e-4
BOUNDARY = 1e-5


def prompts_of(checkpoint, count, name="pocket-500"):
    problems = load_problems(name)[:count]
    return [list(render(p, TEMPLATES["plain"], checkpoint.tokenizer)) for p in problems]


def seeds_for(prompts, samples, run_seed=0):
    return [
        [seed_for(run_seed, 1, str(p), i, "test") for i in range(samples)]
        for p in range(len(prompts))
    ]


def logits_after(model, row):
    """Logits of the next token, computed from the whole row without a cache."""
    with torch.no_grad():
        hidden = model(torch.tensor([row]), torch.arange(len(row))[None])
        return model.logits(hidden[0, -1])


# ---- greedy against transformers ---------------------------------------------------------------


def assert_greedy_equal(ours_model, theirs_model, prompts, completions, stop):
    """Rows may differ only from a place on where the two best logits are nearly equal."""
    same = 0
    for prompt, (completion,) in zip(prompts, completions, strict=True):
        theirs = theirs_model.generate(
            torch.tensor([prompt]), max_new_tokens=len(completion) + 1, do_sample=False,
            eos_token_id=stop, pad_token_id=0, attention_mask=torch.ones(1, len(prompt)),
        )[0, len(prompt) :].tolist()  # fmt: skip
        ours = completion.tokens.tolist()
        differing = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
        if not differing:
            same += 1
            if completion.finish is Finish.STOP:
                assert ours == theirs
            continue
        best = logits_after(ours_model, prompt + ours[: differing[0]]).topk(2).values
        assert best[0] - best[1] < NEAR_TIE
    return same


def test_greedy_equals_transformers_on_the_shipped_family(shipped):
    theirs = AutoModelForCausalLM.from_pretrained(shipped_families()["pocket/code-prior"])
    prompts = prompts_of(shipped, 40)
    engine = NativeEngine(shipped.model, shipped.tokenizer)
    completions = engine.generate(prompts, Sampling(0.0, 1.0, 72), seeds_for(prompts, 1))
    assert assert_greedy_equal(shipped.model, theirs, prompts, completions, 0) >= 38


def test_greedy_equals_transformers_on_random_weights(architecture, shipped, tmp_path):
    model = random_model(architecture)
    save(model, shipped.tokenizer, tmp_path / "m")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    prompts = prompts_of(shipped, 12)
    engine = NativeEngine(model, shipped.tokenizer, max_rows=5)
    completions = engine.generate(prompts, Sampling(0.0, 1.0, 24), seeds_for(prompts, 1))
    assert assert_greedy_equal(model, theirs, prompts, completions, 0) >= 10
    assert all((c.logprobs == 0).all() and (c.entropies == 0).all() for (c,) in completions)


@pytest.mark.parametrize("kind", FOREIGN)
def test_greedy_equals_transformers_through_their_own_forward_pass(kind, shipped, tmp_path):
    theirs = make_foreign(kind, tmp_path / "m", shipped.tokenizer, **FOREIGN[kind])
    model = load(str(tmp_path / "m")).model
    prompts = prompts_of(shipped, 8)
    engine = NativeEngine(model, shipped.tokenizer, max_rows=5)
    completions = engine.generate(prompts, Sampling(0.0, 1.0, 16), seeds_for(prompts, 1))
    assert assert_greedy_equal(model, theirs, prompts, completions, 0) >= 7


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_learner_scores_what_the_engine_sampled(kind, shipped, tmp_path):
    """Log-probabilities of packed rows are those of the cache, whatever the architecture."""
    make_foreign(kind, tmp_path / "m", shipped.tokenizer, **FOREIGN[kind])
    model = load(str(tmp_path / "m")).model
    prompts = prompts_of(shipped, 3)
    engine = NativeEngine(model, shipped.tokenizer)
    completions = engine.generate(prompts, Sampling(1.0, 1.0, 16), seeds_for(prompts, 4))
    flat = [c for group in completions for c in group]
    texts = [[c.tokens.tolist() for c in group] for group in completions]
    scored = completion_logprobs(model, rows_of(list(zip(prompts, texts, strict=True))), 1.0)
    for row, completion in zip(scored.detach().numpy(), flat, strict=True):
        np.testing.assert_allclose(row[: len(completion)], completion.logprobs, atol=2e-5)
    scored.sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.dim() == 2)


# ---- one batch composition against another -----------------------------------------------------


def forced_logits(model, prompts, copies, forced):
    """Logits at every decode step while each row is fed the same given tokens."""
    with torch.no_grad():
        cache, hidden = prefill(model, prompts, copies, len(forced))
        steps = [model.logits(hidden)]
        for token in forced[:-1]:
            tokens = torch.full((sum(copies), 1), token)
            hidden = model(tokens, cache.lengths_B[:, None], cache.attend)[:, 0]
            cache.advance()
            steps.append(model.logits(hidden))
    return torch.stack(steps, 1)


@pytest.mark.parametrize("which", ["shipped", *sorted(ARCHITECTURES)])
def test_logits_do_not_depend_on_the_batch(which, shipped):
    model = shipped.model if which == "shipped" else random_model(ARCHITECTURES[which])
    prompts = prompts_of(shipped, 9)
    forced = shipped.tokenizer.encode("Let's use Python.\nx=12+5 #17")
    together = forced_logits(model, prompts, [3] * 9, forced)
    assert together.std() > 0.5
    for copies in (4, 5, 7, 16, 30):
        for i in range(9):
            alone = forced_logits(model, [prompts[i]], [copies], forced)
            assert (together[3 * i] - alone[0]).abs().max() <= 1e-5
            assert (together[3 * i + 2] - alone[-1]).abs().max() <= 1e-5
    # against the whole row without a cache, where sums are taken in another order
    whole = torch.stack([logits_after(model, prompts[2] + forced[:n]) for n in range(len(forced))])
    assert (whole - together[6]).abs().max() <= 1e-4


def test_a_completion_alone_is_the_one_in_a_batch(shipped):
    prompts = prompts_of(shipped, 24)
    seeds = seeds_for(prompts, 3)
    together = NativeEngine(shipped.model, shipped.tokenizer).generate(prompts, Sampling(), seeds)
    for size in (1, 2, 5):
        engine = NativeEngine(shipped.model, shipped.tokenizer, max_rows=size)
        for one, other in zip(engine.generate(prompts, Sampling(), seeds), together, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a.tokens, b.tokens)
                np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)


def divergences(model, prompts, seeds, one, other, sampling):
    """Distance of the uniform from the nearest boundary at every first divergence, and the rows."""
    distances, rows, tokens = [], 0, 0
    for p, (left, right) in enumerate(zip(one, other, strict=True)):
        for g, (a, b) in enumerate(zip(left, right, strict=True)):
            rows, tokens = rows + 1, tokens + len(a)
            ours, theirs = a.tokens.tolist(), b.tokens.tolist()
            if ours == theirs:
                continue
            length = min(len(ours), len(theirs))
            first = next((i for i in range(length) if ours[i] != theirs[i]), length)
            logits = logits_after(model, prompts[p] + ours[:first])
            cdf = sampled_logprobs(logits[None], sampling)[0].double().exp().cumsum(0)
            u = uniforms([seeds[p][g]], first + 1)[0, -1]
            distances.append(float((cdf / cdf[-1] - u).abs().min()))
    return distances, rows, tokens


@pytest.mark.parametrize("sampling", [Sampling(1.0, 1.0, 72), Sampling(0.8, 0.95, 72)])
def test_batch_composition_changes_a_token_only_at_a_boundary(shipped, sampling):
    prompts = prompts_of(shipped, 30, "pocket-new")
    seeds = seeds_for(prompts, 16)
    engines = [NativeEngine(shipped.model, shipped.tokenizer, max_rows=n) for n in (256, 37)]
    one, other = (e.generate(prompts, sampling, seeds) for e in engines)
    distances, rows, tokens = divergences(shipped.model, prompts, seeds, one, other, sampling)
    assert tokens >= 20_000
    assert all(d < BOUNDARY for d in distances)
    assert len(distances) <= rows / 1000


def test_that_check_can_fail(shipped, monkeypatch):
    """With noise of 1e-2 on the logits of one composition, tokens change far from boundaries."""
    prompts = prompts_of(shipped, 30)
    seeds, sampling = seeds_for(prompts, 8), Sampling(1.0, 1.0, 48)
    engine = NativeEngine(shipped.model, shipped.tokenizer)
    one = engine.generate(prompts, sampling, seeds)
    monkeypatch.setattr(
        native, "draw", lambda logits, u, s: draw(logits + 1e-2 * torch.sin(1e3 * logits), u, s)
    )
    other = engine.generate(prompts, sampling, seeds)
    distances, _, _ = divergences(shipped.model, prompts, seeds, one, other, sampling)
    assert any(d > BOUNDARY for d in distances)


def test_same_call_twice_is_identical(shipped):
    prompts = prompts_of(shipped, 6)
    engine = NativeEngine(shipped.model, shipped.tokenizer)
    runs = [engine.generate(prompts, Sampling(), seeds_for(prompts, 4)) for _ in range(2)]
    for a, b in zip(*[[c for g in run for c in g] for run in runs], strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_array_equal(a.logprobs, b.logprobs)


# ---- the record of a completion ----------------------------------------------------------------


def test_log_probabilities_are_those_of_the_sampled_distribution(shipped):
    prompts = prompts_of(shipped, 3)
    for sampling in (Sampling(1.0, 1.0, 40), Sampling(0.7, 0.9, 40)):
        engine = NativeEngine(shipped.model, shipped.tokenizer)
        for prompt, group in zip(
            prompts, engine.generate(prompts, sampling, seeds_for(prompts, 2)), strict=True
        ):
            for c in group:
                row = prompt + c.tokens.tolist()
                for t in range(0, len(c), 5):
                    logits = logits_after(shipped.model, row[: len(prompt) + t])
                    lp = sampled_logprobs(logits[None], sampling)[0]
                    assert c.logprobs[t] == pytest.approx(float(lp[c.tokens[t]]), abs=1e-4)
                    p = lp.exp()
                    entropy = -float((p[p > 0] * lp[p > 0]).sum())
                    assert c.entropies[t] == pytest.approx(entropy, abs=1e-4)


def test_completions_end_as_they_say(shipped):
    prompts = prompts_of(shipped, 20)
    engine = NativeEngine(shipped.model, shipped.tokenizer)
    engine.version = 7
    groups = engine.generate(prompts, Sampling(1.0, 1.0, 45), seeds_for(prompts, 4))
    finishes = set()
    for c in (c for g in groups for c in g):
        stops = (c.tokens == 0).nonzero()[0]
        assert len(c) == len(c.logprobs) == len(c.entropies) == len(c.loss_mask) == len(c.versions)
        assert (c.versions == 7).all()
        assert c.loss_mask.all()
        finishes.add(c.finish)
        if c.finish is Finish.STOP:
            assert stops.tolist() == [len(c) - 1]
        else:
            assert len(stops) == 0
            assert len(c) == 45
        assert c.text == shipped.tokenizer.decode(c.tokens.tolist())
    assert finishes == {Finish.STOP, Finish.LENGTH}  # both cases were met


def test_uneven_groups_and_chunks(shipped):
    prompts = prompts_of(shipped, 4)
    seeds = [[1, 2, 3], [4], [], [5, 6]]
    small = NativeEngine(shipped.model, shipped.tokenizer, max_rows=2)
    groups = small.generate(prompts, Sampling(1.0, 1.0, 12), seeds)
    assert [[c.seed for c in g] for g in groups] == seeds


# ---- the sampler -------------------------------------------------------------------------------


def test_every_completion_is_announced_once_and_most_before_the_last_is_written(shipped):
    prompts = prompts_of(shipped, 6)
    seeds = seeds_for(prompts, 5)
    engine = NativeEngine(shipped.model, shipped.tokenizer, max_rows=13)
    told, steps = {}, []

    def finished(p, i, completion):
        assert (p, i) not in told
        told[p, i] = completion
        steps.append(len(completion))

    groups = engine.generate(prompts, Sampling(max_tokens=200), seeds, finished)
    assert told == {(p, i): c for p, group in enumerate(groups) for i, c in enumerate(group)}
    assert [c.seed for group in groups for c in group] == list(chain(*seeds))
    assert list(told) != sorted(told)  # in the order in which they ended


def test_sampler_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).repeat(5, 1)
    u = torch.tensor([0.0, 0.49, 0.51, 0.79, 0.81], dtype=torch.float64)
    drawn = draw(logits, u, Sampling())
    assert drawn.tokens_B.tolist() == [0, 0, 1, 1, 2]
    np.testing.assert_allclose(drawn.logprobs_B, np.log([0.5, 0.5, 0.3, 0.3, 0.2]), rtol=1e-6)
    expected = -(np.array([0.5, 0.3, 0.2]) * np.log([0.5, 0.3, 0.2])).sum()
    np.testing.assert_allclose(drawn.entropies_B, expected, rtol=1e-6)


def test_broken_logits_are_named():
    half = torch.tensor([0.5], dtype=torch.float64)
    with pytest.raises(PlaceboError, match="not finite"):
        draw(torch.tensor([[0.0, torch.nan]]), half, Sampling())
    with pytest.raises(PlaceboError, match="not finite"):
        draw(torch.tensor([[0.0, torch.nan]]), half, Sampling(0.0))


def test_top_p_by_hand():
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    for top_p, kept in ((0.5, [1]), (0.6, [1, 2]), (0.81, [0, 1, 2]), (1e-9, [1])):
        lp = sampled_logprobs(logits, Sampling(top_p=top_p))[0]
        assert torch.isfinite(lp).nonzero()[:, 0].tolist() == kept
        assert float(lp.exp().sum()) == pytest.approx(1.0, abs=1e-6)
    last = draw(logits, torch.tensor([1 - 1e-16], dtype=torch.float64), Sampling(top_p=0.6))
    assert last.tokens_B.item() == 2
    assert torch.isfinite(last.entropies_B).all()


def test_frequencies_are_the_probabilities():
    probabilities = torch.tensor([0.05, 0.0, 0.6, 0.35])
    u = torch.from_numpy(uniforms(range(20_000), 1)[:, 0])
    drawn = draw(probabilities.log().repeat(20_000, 1), u, Sampling())
    counts = torch.bincount(drawn.tokens_B, minlength=4) / 20_000
    assert counts[1] == 0  # a token of probability 0 is never drawn
    torch.testing.assert_close(counts, probabilities, atol=0.015, rtol=0)


def test_temperature_zero_is_greedy_and_low_temperature_goes_there():
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    half = torch.tensor([0.5], dtype=torch.float64)
    assert draw(logits, half, Sampling(0.0)).tokens_B.item() == 1
    assert draw(logits, half, Sampling(0.01)).tokens_B.item() == 1


def test_self_certainty_is_the_divergence_from_uniform():
    """KL(uniform ‖ p) = −log V − mean log p; 0 for a uniform distribution; top-p's own support."""
    u = torch.tensor([0.3], dtype=torch.float64)
    probabilities = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
    drawn = draw(probabilities.log(), u, Sampling())
    expected = -math.log(4) - sum(math.log(p) for p in (0.5, 0.25, 0.125, 0.125)) / 4
    assert drawn.certainties_B.item() == pytest.approx(expected, abs=1e-6)
    assert draw(torch.zeros(1, 7), u, Sampling()).certainties_B.item() == pytest.approx(0, abs=1e-6)
    kept = draw(probabilities.log(), u, Sampling(top_p=0.7)).certainties_B.item()
    expected = -math.log(2) - (math.log(2 / 3) + math.log(1 / 3)) / 2
    assert kept == pytest.approx(expected, abs=1e-6)
    assert draw(probabilities.log(), u, Sampling(0.0)).certainties_B.item() == 0


def test_stop_texts_end_a_completion_across_the_borders_of_tokens(shipped):
    """With the same seeds, each completion is what it was before, cut behind the text."""
    prompts = prompts_of(shipped, 6)
    seeds, stops = seeds_for(prompts, 8), ("\n```\n", "nt(", "s by")
    engine = NativeEngine(shipped.model, shipped.tokenizer)
    free = engine.generate(prompts, Sampling(1.0, 1.0, 72), seeds)
    cut = engine.generate(prompts, Sampling(1.0, 1.0, 72, stops), seeds)
    met, across = 0, 0
    for one, other in zip(chain(*free), chain(*cut), strict=True):
        n = len(other)
        assert other.tokens.tolist() == one.tokens[:n].tolist()
        assert other.logprobs.tolist() == one.logprobs[:n].tolist()
        before = shipped.tokenizer.decode(other.tokens[:-1])
        assert not any(stop in before for stop in stops)
        if any(stop in one.text for stop in stops):
            met += 1
            assert other.finish == "stop"
            assert any(stop in other.text for stop in stops)
            last = shipped.tokenizer.decode(other.tokens[-1:])
            across += not any(stop in last for stop in stops)
        else:
            assert n == len(one)
    assert met > 10
    assert across > 5


@pytest.mark.parametrize("vocabulary", [3, 640, 641, 5000])
def test_by_blocks_or_whole_the_same_token_is_drawn(monkeypatch, vocabulary):
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 3 * torch.randn((300, vocabulary), generator=generator)
    logits[:, 1::2] = -torch.inf  # tokens without any probability are never drawn
    drawn = torch.rand(300, generator=generator, dtype=torch.float64)
    drawn[0], drawn[1] = 0.0, 1.0 - 2**-53
    found = []
    for few in (0, vocabulary + 1):
        monkeypatch.setattr(sampler, "FEW", few)
        found.append(draw(logits, drawn, Sampling()).tokens_B)
    assert torch.equal(*found)
    assert (found[0] % 2 == 0).all()
    assert len(found[0].unique()) > 1
