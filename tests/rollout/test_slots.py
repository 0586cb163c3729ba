"""The engine for a GPU, whose logic is the same on the CPU."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import ARCHITECTURES, FOREIGN, make_foreign, random_model
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Finish
from rlvr_placebo.core.seeds import seed_for
from rlvr_placebo.model.checkpoint import load, save
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.rollout import slots
from rlvr_placebo.rollout.graphs import Replay
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.rollout.slots import SlotEngine
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import TEMPLATES, render
from rlvr_placebo.text.tokenizer import Tokenizer


def prompts_of(checkpoint, count):
    problems = load_problems("pocket-500")[:count]
    return [list(render(p, TEMPLATES["plain"], checkpoint.tokenizer)) for p in problems]


def seeds_for(prompts, samples):
    return [[seed_for(0, 1, str(p), i, "slots") for i in range(samples)]
            for p in range(len(prompts))]  # fmt: skip


def assert_alike(one, other):
    """The same completions, but for one in fifty that met a boundary within rounding."""
    pairs = [pair for rows in zip(one, other, strict=True) for pair in zip(*rows, strict=True)]
    same = 0
    for a, b in pairs:
        if a.tokens.tolist() == b.tokens.tolist():
            same += 1
            assert (a.finish, a.text, a.seed) == (b.finish, b.text, b.seed)
            for name in ("logprobs", "entropies", "certainties"):
                np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-4)
    assert same >= 0.98 * len(pairs)


@pytest.mark.parametrize("rows", [256, 8, 5])
@pytest.mark.parametrize("how", [Sampling(1.0, 1.0, 72), Sampling(0.0, 1.0, 72),
                                 Sampling(0.7, 0.9, 30, ("answer", "\n"))])  # fmt: skip
def test_places_complete_as_the_other_engine_does(how, rows, shipped):
    prompts = prompts_of(shipped, 10)
    prompts[3] = prompts[3][:1]  # nothing to read before its last token
    seeds = seeds_for(prompts, 3)
    told = []
    engine = SlotEngine(shipped.model, shipped.tokenizer, rows)
    found = engine.generate(prompts, how, seeds, lambda p, i, c: told.append((p, i, c.seed)))
    assert_alike(
        found, NativeEngine(shipped.model, shipped.tokenizer).generate(prompts, how, seeds)
    )
    assert sorted(told) == sorted(
        (p, i, s) for p, own in enumerate(seeds) for i, s in enumerate(own)
    )
    if how.stops:
        stopped = [c for own in found for c in own if c.finish is Finish.STOP and c.tokens[-1] != 0]
        assert stopped
        for c in stopped:
            before = shipped.tokenizer.decode(c.tokens[:-1].tolist())
            assert any(s in c.text for s in how.stops)
            assert not any(s in before for s in how.stops)


@pytest.mark.parametrize("engine", [SlotEngine, NativeEngine])
def test_a_stop_text_that_is_a_special_token_ends_a_completion(engine, shipped, tmp_path):
    """Texts leave special tokens out, so they are looked for among the tokens."""
    folder = tmp_path / "m"
    save(shipped.model, shipped.tokenizer, folder)
    document = json.loads((folder / "tokenizer.json").read_text())
    prompts, seeds = prompts_of(shipped, 4), seeds_for(prompts_of(shipped, 4), 4)
    plain = engine(shipped.model, shipped.tokenizer).generate(prompts, Sampling(1, 1, 40), seeds)
    number = int(plain[0][0].tokens[5])
    text = document["model"]["vocab"]
    spelt = next(word for word, id in text.items() if id == number)
    document["added_tokens"].append({
        "id": number, "content": spelt, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    })  # fmt: skip
    tokenizer = Tokenizer.__new__(Tokenizer)
    tokenizer.__dict__ = dict(vars(shipped.tokenizer))
    tokenizer._fast = type(shipped.tokenizer._fast).from_str(json.dumps(document))
    assert tokenizer.special(spelt) == number
    assert tokenizer.special("nobody says this") is None
    how = Sampling(1, 1, 40, (spelt,))
    for own, free in zip(engine(shipped.model, tokenizer).generate(prompts, how, seeds), plain,
                         strict=True):  # fmt: skip
        for short, long in zip(own, free, strict=True):
            ids = long.tokens.tolist()
            wanted = ids[: ids.index(number) + 1] if number in ids else ids
            assert short.tokens.tolist() == wanted
            assert short.finish is (Finish.STOP if number in ids else long.finish)


def test_nothing_is_asked_for_nothing(shipped):
    engine = SlotEngine(shipped.model, shipped.tokenizer)
    assert engine.generate([], Sampling(), []) == []


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
def test_places_fit_every_architecture(kind, shipped):
    model = random_model(ARCHITECTURES[kind])
    prompts, how = prompts_of(shipped, 6), Sampling(1.0, 1.0, 20)
    seeds = seeds_for(prompts, 4)
    both = [e(model, shipped.tokenizer).generate(prompts, how, seeds)
            for e in (SlotEngine, NativeEngine)]  # fmt: skip
    assert_alike(*both)


def test_places_take_models_of_others_and_narrow_numbers(shipped, tmp_path):
    kind = sorted(FOREIGN)[0]
    make_foreign(kind, tmp_path / "m", shipped.tokenizer, **FOREIGN[kind])
    prompts, how = prompts_of(shipped, 4), Sampling(1.0, 1.0, 16)
    seeds = seeds_for(prompts, 4)
    model = load(str(tmp_path / "m")).model
    both = [e(model, shipped.tokenizer).generate(prompts, how, seeds)
            for e in (SlotEngine, NativeEngine)]  # fmt: skip
    assert_alike(*both)
    model = load("pocket/code-prior").model
    model.compute = torch.bfloat16
    for own in SlotEngine(model, shipped.tokenizer).generate(prompts, how, seeds):
        assert all(np.isfinite(c.logprobs).all() for c in own)


def test_the_cache_is_read_as_far_as_it_is_filled_and_places_close_up(shipped, monkeypatch):
    """Steps come in few shapes; their border follows the rows, their number those that are left."""
    monkeypatch.setattr(slots, "GRAIN", 32)
    seen = []
    step = slots.Places.step

    def watched(self, rows, border):
        held = ~self._done_B[:rows]
        assert int(self._positions_B[:rows].max()) < border
        seen.append((rows, border, int(held.sum())))
        step(self, rows, border)

    monkeypatch.setattr(slots.Places, "step", watched)
    prompts, how = prompts_of(shipped, 16), Sampling(1.0, 1.0, 72)
    seeds = seeds_for(prompts, 4)
    found = SlotEngine(shipped.model, shipped.tokenizer, 32).generate(prompts, how, seeds)
    lengths = [len(c) for own in found for c in own]
    assert len({shape[:2] for shape in seen}) <= 20
    assert len({rows for rows, _, _ in seen}) >= 3
    assert min(border for _, border, _ in seen) < max(border for _, border, _ in seen)
    assert sum(held for _, _, held in seen) == sum(lengths)  # no row goes on behind its end
    assert len(seen) < sum(sorted(lengths)[-2:]) + 2 * slots.STRIDE * 4  # new rows take places


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("how", [Sampling(1.0, 1.0, 16), Sampling(0.7, 0.9, 16),
                                 Sampling(0.0, 1.0, 16)])  # fmt: skip
@pytest.mark.parametrize("vocabulary", [640, 5000])
def test_a_step_waits_for_no_device(vocabulary, how, precision):
    """On the meta device no number can be looked at, and tensors of two devices do not meet."""
    model = Decoder(replace(ARCHITECTURES["qwen2"], vocab_size=vocabulary)).to("meta")
    model.compute = precision
    with torch.inference_mode(), model.at_rest():
        places = slots.Places(model, 8, 20, how, torch.tensor([0]))
        places.step(4, 256)
        places.close_up([1, 3])
    with pytest.raises(RuntimeError, match="meta"):
        places.look([0], lambda rows: [""] * len(rows))


def test_a_step_is_recorded_from_its_second_time_in_a_shape():
    calls, recorded = [], []

    def record(step):
        recorded.append(1)
        return lambda: (calls.append("replayed"), step())

    replay = Replay(lambda *shape: calls.append(shape), record)
    for shape in ((8, 256), (8, 256), (4, 256), (8, 256), (4, 256)):
        replay(*shape)
    assert len(recorded) == 2
    assert calls == [(8, 256), "replayed", (8, 256), (4, 256), "replayed", (8, 256),
                     "replayed", (4, 256)]  # fmt: skip
    plain = Replay(lambda *shape: calls.append(shape), None)
    plain(1), plain(1)
    assert calls[-2:] == [(1,), (1,)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("vocabulary", [640, 5000])
def test_broken_weights_are_named(temperature, vocabulary, shipped):
    model = random_model(replace(ARCHITECTURES["qwen2"], vocab_size=vocabulary))
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.nan)
    prompts = prompts_of(shipped, 2)
    with pytest.raises(PlaceboError, match="not finite"):
        SlotEngine(model, shipped.tokenizer).generate(
            prompts, Sampling(temperature, 1.0, 16), seeds_for(prompts, 2)
        )
