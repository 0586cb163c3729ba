"""Linear maps by either library: the same numbers and gradients as torch's own."""

import pytest
import torch
from torch.nn import functional

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.model import products

CHOSEN = products.library()  # on this machine


@pytest.fixture(params=["torch", "onednn"])
def library(request, monkeypatch):
    if request.param == "onednn" and not products._works():
        pytest.skip("this torch has no oneDNN product under the name we know")
    monkeypatch.setattr(products, "library", lambda: request.param)
    return request.param


@pytest.mark.parametrize("shape", [(1, 5, 8, 3), (2, 300, 64, 160), (1, 640, 416, 160)])
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients(library, shape, biased):
    rows, tokens, inner, outer = shape
    generator = torch.Generator().manual_seed(0)

    def drawn(*size):
        return torch.randn(size, generator=generator).requires_grad_()

    x, weight = drawn(rows, tokens, inner), drawn(outer, inner)
    bias = drawn(outer) if biased else None
    inputs = [x, weight] + ([bias] if biased else [])
    weights = torch.randn((rows, tokens, outer), generator=generator)
    found, wanted = products.linear(x, weight, bias), functional.linear(x, weight, bias)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(torch.autograd.grad((found * weights).sum(), inputs),
                            torch.autograd.grad((wanted * weights).sum(), inputs),
                            strict=True):  # fmt: skip
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_rows_are_filled_up_where_it_pays(library):
    assert products.rounded(129) == (256 if library == "onednn" else 129)
    assert products.rounded(256) == 256


def test_other_kinds_of_numbers_are_torchs(library):
    x = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    assert products.linear(x, torch.ones(2, 4, dtype=torch.float64)).dtype == torch.float64


def test_the_choice_can_be_overruled(monkeypatch):
    for name in ("torch", "onednn"):
        products.library.cache_clear()
        monkeypatch.setenv("PLACEBO_PRODUCTS", name)
        assert products.library() == name
    products.library.cache_clear()
    monkeypatch.setenv("PLACEBO_PRODUCTS", "mkl")
    with pytest.raises(PlaceboError, match="must be torch or onednn"):
        products.library()
    monkeypatch.delenv("PLACEBO_PRODUCTS")
    assert products.library() in ("torch", "onednn")


@pytest.mark.parametrize("inner", [16, 64, 160, 192, 288, 768])
@pytest.mark.parametrize("outer", [64, 320, 640, 1000])
def test_a_row_is_the_same_beside_any_others(library, inner, outer):
    generator = torch.Generator().manual_seed(inner + outer)
    x, weight = (
        torch.randn(300, inner, generator=generator),
        torch.randn(outer, inner, generator=generator),
    )
    whole = products.product(x, weight)  # more rows than any threshold leaves to the other library
    for rows in (4, 5, 16, 20, 64, 100, 256):
        part = products.product(x[:rows], weight)
        torch.testing.assert_close(part, whole[:rows], rtol=1e-5, atol=1e-4)
        if library == CHOSEN == "onednn":  # where we choose, we have seen them equal
            assert torch.equal(part, whole[:rows])


def test_joined_maps_are_the_maps(library):
    for biased in (True, False):
        parts = [products.Linear(64, size, bias=biased) for size in (32, 16, 48)]
        owner = torch.nn.ModuleDict(dict(zip("abc", parts, strict=True)))
        joined, x = products.Joined(*"abc"), torch.randn(40, 64)
        with torch.no_grad():
            wanted = [part(x) for part in parts]
            joined.hold(owner)
            held = joined(owner, x)
            joined.release()
            parts[0].weight.add_(1.0)
            assert not torch.equal(joined(owner, x)[0], held[0])  # and is not what was put together
        for ours, theirs in zip(held, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
