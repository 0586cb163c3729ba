"""Where a model's tensors are: on the CPU, or on a GPU.

Only the model, what it is asked in tokens and what it makes of them are ever on a GPU. Problems,
completions, rewards, advantages and the loss of a batch stay on the CPU, whatever the device.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.model.decoder import Decoder

AUTO, CPU, CUDA = "auto", "cpu", "cuda"
TINY = 10_000_000  # parameters; with fewer a CPU is as fast
KNOWN = re.compile(r"auto|cpu|cuda(:[0-9]{1,2})?")


def check_device(asked: str) -> None:
    """Refuse what names no device.

    Raises:
        PlaceboError: with what may be said.
    """
    if not KNOWN.fullmatch(asked):
        raise PlaceboError(f"device {asked!r}: must be auto, cpu, cuda, or cuda:1 and so on")


def choose(asked: str, parameters: int) -> torch.device:
    """The device that a model goes to.

    Args:
        asked: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``. ``auto`` is a GPU where torch sees one;
            but tiny models, as the embedded families are, stay on the CPU, on which the lab's
            figures were made.
        parameters: how many the model has.

    Raises:
        PlaceboError: a GPU is asked for that torch does not see.
    """
    check_device(asked)
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == CPU or (asked == AUTO and (parameters < TINY or not seen)):
        return torch.device(CPU)
    device = torch.device(CUDA if asked == AUTO else asked)
    index = device.index or 0
    if index >= seen:
        there = f"{seen} GPU(s)" if seen else "no GPU"
        built = "" if torch.version.cuda else "; this build of torch is for the CPU alone"
        raise PlaceboError(f"device {asked}: torch sees {there}{built}")
    return torch.device(CUDA, index)


def place(model: Decoder, asked: str = AUTO) -> torch.device:
    """Move a model to the device that is asked for, and say which; see :func:`choose`."""
    device = choose(asked, sum(p.numel() for p in model.parameters()))
    if device.type == CUDA:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # products that repeat
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.cuda.set_device(device)
    model.to(device)
    return device


def device_of(model: Decoder) -> torch.device:
    """Where a model is."""
    return model.head.device


def free_memory(device: torch.device) -> int | None:
    """Bytes of a GPU that are free; None for the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == CUDA else None


def name_of(device: torch.device) -> str:
    """What a run's record calls a device. Examples: ``cpu``, ``cuda (NVIDIA H200)``."""
    if device.type != CUDA:
        return device.type
    return f"{CUDA} ({torch.cuda.get_device_name(device)})"


@contextlib.contextmanager
def kernels(device: torch.device) -> Generator[None]:
    """Attention on a GPU by kernels that need no plan for every new shape; on the CPU nothing."""
    if device.type != CUDA:
        yield
        return
    fitting = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(fitting):
        yield


@contextlib.contextmanager
def repeatable(model: Decoder) -> Generator[None]:
    """Sums in the same order every time, which a GPU does not do by itself; on the CPU nothing.

    Models of others may hold operations that cannot repeat: they are told of, and go on.
    """
    device = device_of(model)
    if device.type != CUDA:
        yield
        return
    settings: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        settings.fill_uninitialized_memory,
    )
    torch.use_deterministic_algorithms(True, warn_only=not model.records)
    settings.fill_uninitialized_memory = False
    try:
        with kernels(device):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = before[2]
