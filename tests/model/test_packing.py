"""Each prompt once, no padding, logits in chunks: the same numbers as one whole row at a time."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ARCHITECTURES, random_model, rows_of
from rlvr_placebo.model import logprobs, packing
from rlvr_placebo.model.decoder import Decoder, causal_attention
from rlvr_placebo.model.logprobs import completion_logprobs
from rlvr_placebo.model.packing import cuts

MODELS = {name: random_model(a).double() for name, a in ARCHITECTURES.items()}


def naive(model, groups, temperature):
    """One row at a time, all logits: log-probabilities of the completions in one row."""
    found = []
    for prompt, group in groups:
        for completion in group:
            tokens = torch.tensor([prompt + completion])
            hidden = model(tokens, torch.arange(tokens.shape[1])[None])
            chosen = torch.log_softmax(model.logits(hidden[0, :-1]) / temperature, -1)
            found.append(chosen.gather(1, tokens[0, 1:, None])[len(prompt) - 1 :, 0])
    return torch.cat(found)


def gradient_of(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def row_by_row(q_JHE, k, v, borders, longest):
    """What the GPU's kernel computes, one row at a time."""
    assert borders.dtype == torch.int32
    assert longest == int(borders.diff().max())
    rows = []
    for start, end in itertools.pairwise(borders.tolist()):
        q, keys, values = (x[start:end].transpose(0, 1)[None] for x in (q_JHE, k, v))
        rows.append(causal_attention(0, q, keys, values)[0].transpose(0, 1))
    return torch.cat(rows)


tokens = st.lists(st.integers(0, 639), min_size=1, max_size=9)
some_groups = st.lists(
    st.tuples(tokens, st.lists(tokens, min_size=1, max_size=4)), min_size=1, max_size=4
)


@pytest.mark.parametrize("which", sorted(ARCHITECTURES))
@pytest.mark.parametrize("chunk", [logprobs.CHUNK, 640 * 3])
@pytest.mark.parametrize("worth", [packing.WORTH, 1, None])
@settings(max_examples=15)
@given(groups=some_groups, temperature=st.sampled_from([1.0, 0.7]), seed=st.integers(0, 9))
def test_packed_is_naive(which, chunk, worth, groups, temperature, seed):
    """Whatever the chunks, and the cuts; ``None`` stands for the GPU's kernel for any lengths."""
    model, rows = MODELS[which], rows_of(groups)
    patch = pytest.MonkeyPatch()
    patch.setattr(logprobs, "CHUNK", chunk)
    if worth is None:
        patch.setattr(packing, "takes_any_lengths", lambda device, kind, size: True)
        patch.setattr(packing, "any_lengths", row_by_row)
    else:
        patch.setattr(packing, "WORTH", worth)
    try:
        packed = completion_logprobs(model, rows, temperature)
        mask = rows.completion_mask()
        assert (packed[~mask] == 0).all()
        weights = torch.randn(int(mask.sum()), generator=torch.Generator().manual_seed(seed))
        ours = gradient_of(model, (packed[mask] * weights).sum())
    finally:
        patch.undo()
    whole = naive(model, groups, temperature)
    torch.testing.assert_close(packed[mask], whole, rtol=1e-6, atol=1e-7)
    theirs = gradient_of(model, (whole * weights).sum())
    assert (ours - theirs).norm() <= 1e-6 * theirs.norm() + 1e-12


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_everything_is_where_the_model_is(precision, joined, monkeypatch):
    """On the meta device, where tensors of the CPU are refused by most operations."""
    model = Decoder(ARCHITECTURES["qwen2"]).to("meta")
    model.compute = precision
    model.reach(64)
    monkeypatch.setattr(packing, "any_lengths", lambda q, k, v, *_: q + k.sum() + v.sum())
    rows = rows_of([([1, 2], [[3], [4, 5]]), ([1, 1, 1], [[2] * 40])])
    packed = packing.Packed(rows, torch.device("meta"), joined)
    hidden = model(packed.tokens_1N, packed.positions_1N, packed.attend)[0]
    parts = (hidden.index_select(0, packed.scored_S), model.head, packed.source_M, packed.targets_M)
    assert all(part.device.type == "meta" for part in parts)
    logprobs._Chosen.apply(*parts, 1.0).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_selection_keeps_its_prompts():
    rows = rows_of([([1, 2], [[3], [4, 5]]), ([6], [[7, 8, 9]]), ([1, 1, 1], [[2]])])
    part = rows.select(torch.tensor([1, 3]))
    assert part.prompts_PT.tolist() == [[1, 2, 0], [1, 1, 1]]
    assert part.completions_BC.tolist() == [[4, 5], [2, 0]]
    assert part.prompt_B.tolist() == [0, 1]
    assert part.completion_mask().tolist() == [[True, True], [True, False]]


@given(lengths=st.lists(st.integers(0, 400), max_size=40), prompt=st.integers(1, 90))
def test_cuts_save_what_they_are_worth(lengths, prompt):
    lengths = sorted(lengths)
    found = cuts(torch.tensor(lengths, dtype=torch.long), prompt)
    assert [row for start, stop in found for row in range(start, stop)] == [
        row for row, length in enumerate(lengths) if length
    ]

    def pairs(start, stop):
        return (stop - start) * lengths[stop - 1] * (prompt + lengths[stop - 1])

    for (start, middle), (_, stop) in itertools.pairwise(found):
        if (start, stop) == (found[0][0], found[-1][1]):  # one cut: it alone was worth it
            saved = pairs(start, stop) - pairs(start, middle) - pairs(middle, stop)
            assert saved >= packing.WORTH
    if found:
        whole = pairs(found[0][0], found[-1][1])
        saved = whole - sum(pairs(*part) for part in found)
        assert saved >= packing.WORTH * (len(found) - 1)


def test_columns_of_padding_beyond_the_longest_stay():
    rows = rows_of([([1, 2], [[3, 4], [5]])])
    wide = rows._replace(completions_BC=torch.nn.functional.pad(rows.completions_BC, (0, 3)))
    model = MODELS["qwen2"]
    found = completion_logprobs(model, wide, 1.0)
    assert found.shape == (2, 5)
    torch.testing.assert_close(found[:, :2], completion_logprobs(model, rows, 1.0))
