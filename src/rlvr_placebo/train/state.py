"""What an unfinished run goes on from: one file, replaced after every step."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save

from rlvr_placebo.core.rundir import STATE, RunDirectory, write_atomic
from rlvr_placebo.learner.learner import Learner
from rlvr_placebo.model.checkpoint import read_tensors


def save_state(run: RunDirectory, learner: Learner, step: int) -> None:
    """Replace the state: everything up to and including ``step`` is now on disk."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in learner.state().items()}
    write_atomic(run.path / STATE, save({**tensors, "step": torch.tensor(step)}))


def restore(run: RunDirectory, learner: Learner) -> int:
    """Go back to the last step that is wholly on disk.

    Returns:
        That step, or −1 where not even the evaluation before training is there.
    """
    path: Path = run.path / STATE
    step = -1
    if path.exists():
        tensors = read_tensors(path)
        step = int(tensors.pop("step"))
        learner.load_state(tensors)
    run.rewind(step)
    return step
