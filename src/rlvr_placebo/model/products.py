"""Linear maps in float32 on the CPU, by the faster of two libraries.

torch gives float32 products to MKL. On processors that are not Intel's, MKL runs its AVX2 kernels:
95 GFLOP/s on one core of an AMD EPYC with AVX-512, where oneDNN, which torch ships as well, reaches
200. Which library is taken depends on the machine and the shape alone, so that a machine computes
the same bytes every time; ``PLACEBO_PRODUCTS=torch`` (or ``onednn``) overrules it.

oneDNN compiles a kernel for every shape it meets (0.8 ms) and costs 12 µs a call: the learner
rounds its rows up (:func:`rounded`), and small products stay with torch. A row's numbers must not
depend on the rows beside it, so the library changes with their number only where both give the
same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rlvr_placebo.core.errors import PlaceboError

NARROW = (torch.bfloat16, torch.float16)  # numbers that sums and probabilities are not left in
SMALL = 1 << 20  # multiplications below which the call of oneDNN costs more than it saves
GRAIN = 128  # rows
EXACT = 192  # sums no longer than this have the same bytes in both libraries (seen, not promised)


@cache
def library() -> str:
    """``onednn`` where it is there, works and is the faster one; else ``torch``.

    Raises:
        PlaceboError: ``PLACEBO_PRODUCTS`` is neither.
    """
    chosen = os.environ.get("PLACEBO_PRODUCTS", "")
    if chosen in ("torch", "onednn"):
        return chosen
    if chosen:
        raise PlaceboError(f"PLACEBO_PRODUCTS={chosen}: must be torch or onednn, or not set")
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "torch"
    fits = "AuthenticAMD" in about and "avx512f" in about and torch.backends.mkldnn.is_available()
    return "onednn" if fits and _works() else "torch"


def _works() -> bool:
    """Whether this torch has oneDNN's product under the name we know, and it is one."""
    one, other = torch.arange(20.0).view(5, 4), torch.arange(12.0).view(3, 4) - 5
    try:
        found = _onednn(one, other, None)
        turned = _onednn(one.t(), torch.arange(10.0).view(2, 5), None)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    wanted = one.t() @ torch.arange(10.0).view(2, 5).t()
    return bool(torch.equal(found, one @ other.t()) and torch.equal(turned, wanted))


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weightᵀ + bias`` without gradient: ``[…, K]`` and ``[N, K]`` to ``[…, N]``."""
    small = x.numel() * len(weight) < SMALL and x.shape[-1] <= EXACT
    if _is_for_onednn(x) and not small:
        return _onednn(x, weight, bias)
    return functional.linear(x, weight, bias)


def _is_for_onednn(x: Tensor) -> bool:
    """Whether products with these numbers are ours to choose, and oneDNN is chosen."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and library() == "onednn"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weightᵀ + bias`` in the numbers of ``x``, with gradient where one is wanted."""
    if weight.dtype != x.dtype:
        weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    if torch.is_grad_enabled() and _is_for_onednn(x):
        return _Linear.apply(x, weight, bias)
    return product(x, weight, bias)


def scores(hidden: Tensor, head_VD: Tensor) -> Tensor:
    """Logits ``[…, V]`` without gradient; sums of narrow numbers are not rounded on a GPU."""
    if hidden.dtype in NARROW and hidden.is_cuda:
        found = torch.mm(hidden.flatten(0, -2), head_VD.t(), out_dtype=torch.float32)
        return found.unflatten(0, hidden.shape[:-1])
    return wide(product(hidden, head_VD))


def wide(x: Tensor) -> Tensor:
    """Narrow numbers as float32; others as they are."""
    return x.float() if x.dtype in NARROW else x


def round_up(count: int, grain: int) -> int:
    """The next multiple of ``grain``. Example: ``round_up(17, 16)`` is 32."""
    return -(-count // grain) * grain


def rounded(rows: int) -> int:
    """Rows that a batch is filled up to, so that there are few shapes where each costs."""
    return round_up(rows, GRAIN) if library() == "onednn" else rows


class _Linear(torch.autograd.Function):
    """A linear map whose products are ours to choose, gradients included."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        wanted = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])
        return (
            product(grad, weight.t().contiguous()) if wanted[0] else None,
            product(rows.t(), x.reshape(-1, x.shape[-1]).t()) if wanted[1] else None,
            rows.sum(0) if wanted[2] else None,
        )


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`linear`.

    Between :meth:`hold` and :meth:`release`, while the weights stand still, it has a copy of them
    in other numbers.
    """

    _held: tuple[Tensor, Tensor | None] | None = None

    def forward(self, input: Tensor) -> Tensor:
        """``input @ weightᵀ + bias``."""
        if self._held is None or torch.is_grad_enabled():
            return linear(input, self.weight, self.bias)
        return linear(input, *self._held)

    def hold(self, dtype: torch.dtype | None) -> None:
        """Copy the weights; until :meth:`release` they must not change."""
        if dtype not in (None, self.weight.dtype):
            with torch.no_grad():
                bias = None if self.bias is None else self.bias.to(dtype)
                self._held = self.weight.to(dtype), bias

    def release(self) -> None:
        """Forget the copy."""
        self._held = None


class Joined:
    """Several linear maps of one input.

    Example: ``gate, up = Joined("gate_proj", "up_proj")(mlp, x)``.

    Between :meth:`hold` and :meth:`release`, while the weights stand still, they are one product.
    """

    def __init__(self, *names: str) -> None:
        """Join parts of these names, all with a bias or none; they keep their parameters."""
        self._names = names
        self._held: tuple[Tensor, Tensor | None] | None = None
        self._sizes: list[int] = []

    def __call__(self, owner: nn.Module, x: Tensor) -> Sequence[Tensor]:
        """What each part of ``owner`` makes of ``x``."""
        if self._held is None or torch.is_grad_enabled():  # copies take no gradient
            return [getattr(owner, name)(x) for name in self._names]
        return linear(x, *self._held).split(self._sizes, -1)

    def hold(self, owner: nn.Module, dtype: torch.dtype | None = None) -> list[nn.Module]:
        """Put the matrices of ``owner`` together; until :meth:`release` they must not change.

        Returns:
            The parts that are one product now: none where adapters stand beside them.
        """
        parts = [getattr(owner, name) for name in self._names]
        if not all(type(part) is Linear for part in parts):
            return []
        with torch.no_grad():
            weight = torch.cat([part.weight for part in parts]).to(dtype)
            biases = tuple(part.bias.to(dtype) for part in parts if part.bias is not None)
            self._sizes = [part.out_features for part in parts]
            self._held = weight, torch.cat(biases) if biases else None
        return parts

    def release(self) -> None:
        """Let the parts go their own ways again."""
        self._held = None
