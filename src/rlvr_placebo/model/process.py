"""How a process that computes uses the machine."""

from __future__ import annotations

import contextlib
import ctypes

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGE = 1 << 25  # bytes; larger arrays go back to the system, as glibc allows no more


def settle() -> None:
    """One thread, and memory that is kept for the next array of its size.

    Two threads on busy cores collapse: scale by processes instead. And where glibc hands every
    freed array of some megabytes back, a training step of 0.5 s takes 17,000 page faults to get
    them again; with this, a thousand.
    """
    torch.set_num_threads(1)
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
