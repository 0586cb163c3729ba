"""The cache against whole rows: any prompts, groups, lengths, and rows that leave on the way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ARCHITECTURES, random_model
from rlvr_placebo.rollout.cache import prefill

MODELS = {name: random_model(a).double() for name, a in ARCHITECTURES.items()}

token = st.integers(0, 639)
groups = st.lists(
    st.tuples(st.lists(token, min_size=1, max_size=40), st.integers(1, 6)), min_size=1, max_size=5
)


@pytest.mark.parametrize("which", sorted(ARCHITECTURES))
@settings(max_examples=25)
@given(groups=groups, steps=st.integers(1, 40), data=st.data())
def test_a_row_is_computed_as_if_it_were_alone(which, groups, steps, data):
    model = MODELS[which]
    rows = [list(prompt) for prompt, count in groups for _ in range(count)]
    with torch.inference_mode(), model.at_rest():
        cache, hidden_BD = prefill(
            model, [p for p, _ in groups], [count for _, count in groups], steps
        )
        for step in range(steps):
            for row, hidden_D in zip(rows, hidden_BD, strict=True):
                alone = model(torch.tensor([row]), torch.arange(len(row))[None])[0, -1]
                torch.testing.assert_close(hidden_D, alone, rtol=1e-9, atol=1e-9)
            if step + 1 == steps:
                break
            staying = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
            if any(staying) and not all(staying):
                rows = [row for row, stays in zip(rows, staying, strict=True) if stays]
                cache.keep(torch.tensor(staying).nonzero()[:, 0])
            new = data.draw(st.lists(token, min_size=len(rows), max_size=len(rows)))
            for row, said in zip(rows, new, strict=True):
                row.append(said)
            positions = cache.lengths_B[:, None]
            hidden_BD = model(torch.tensor(new)[:, None], positions, cache.attend)[:, 0]
            cache.advance()
