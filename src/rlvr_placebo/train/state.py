"""What an unfinished run goes on from: one file, replaced after every step."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import canonical_json, write_atomic
from rlvr_placebo.core.rundir import STATE, RunDirectory
from rlvr_placebo.learner.learner import Learner
from rlvr_placebo.model.folders import read_tensors


def save_state(run: RunDirectory, learner: Learner, step: int) -> None:
    """Replace the state: everything up to and including ``step`` is now on disk."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in learner.state().items()}
    tensors["step"] = torch.tensor(step)
    marks = {"files": canonical_json(run.checksums()), "tensors": _digest(tensors)}
    write_atomic(run.path / STATE, lambda path: save_file(tensors, path, metadata=marks))


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    """Hash of all tensors, by name."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        state.update(name.encode())
        state.update(np.atleast_1d(tensors[name].numpy()).data)
    return state.hexdigest()


def restore(run: RunDirectory, learner: Learner) -> int:
    """Go back to the last step that is wholly on disk.

    Returns:
        That step, or −1 where not even the evaluation before training is there.

    Raises:
        PlaceboError: the state, or a file written before it, is not what it was.
    """
    path: Path = run.path / STATE
    if not path.exists():
        run.rewind(-1)
        return -1
    tensors = read_tensors(path)
    with safe_open(path, framework="pt") as opened:
        marks = opened.metadata() or {}
    if marks.get("tensors") != _digest(tensors):
        raise PlaceboError(f"{path}: damaged; delete {run.path} and run again")
    step = int(tensors.pop("step"))
    run.rewind(step)
    run.must_be_whole(json.loads(marks["files"]))
    learner.load_state(tensors)
    return step
