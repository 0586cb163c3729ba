"""One side of a profile in processes of its own: ``python -m rlvr_placebo.bench.alone``.

A process can say what memory it took only if nothing else has run in it, and speed beside other
processes is that of workers on one machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rlvr_placebo.bench.ours import POOL, Generation, our_steps
from rlvr_placebo.bench.peer import Continuous, Generate, trl_steps
from rlvr_placebo.bench.profiles import Profile, checkpoint_folder
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.model.process import settle
from rlvr_placebo.text.problems import load_problems

OURS = "ours"


def alone(profile: Profile, side: str, repeats: int, copies: int = 1) -> list[dict[str, Any]]:
    """Run processes of one side at the same time.

    Args:
        profile: what each does.
        side: ``ours``, ``TRL``, or the name of a way to generate.
        repeats: steps (or calls) of each, behind one to warm up.
        copies: how many processes.

    Returns:
        Of each process ``seconds`` (a list) and ``peak_mb``, the most memory it held.

    Raises:
        PlaceboError: a process ended early.
    """
    command = [sys.executable, "-m", "rlvr_placebo.bench.alone",
               json.dumps(asdict(profile)), side, str(repeats)]  # fmt: skip
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        for _ in range(copies)
    ]
    try:
        for child in children:  # all of them have loaded and warmed up before one is timed
            _line(child, command)
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        return [json.loads(_line(child, command)) for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _line(child: subprocess.Popen[str], command: list[str]) -> str:
    assert child.stdout
    if line := child.stdout.readline():
        return line
    raise PlaceboError(f"bench: a process ended early; to see why: {command[1:]}")


def _drive(
    profile: Profile, side: str, scratch: Path, cycles: int,
    between: Callable[[dict[str, float]], None],
) -> None:  # fmt: skip
    """Make steps or calls of one side, and tell the seconds of each."""
    folder = checkpoint_folder(profile, scratch)
    if side == "TRL":
        trl_steps(profile, folder, load_problems(POOL), scratch, cycles, between)
    elif profile.kind == "step":
        with our_steps(profile, folder, scratch).open() as steps:
            for _ in range(cycles):
                between(steps.step())
    else:
        ours = Generation(profile, folder)
        others = {kind.name: kind for kind in (Generate, Continuous)}
        chosen = ours if side == OURS else others[side](profile, folder, ours.prompts)
        for _ in range(cycles):
            between({"step": chosen.once()[0]})


def main(profile: Profile, side: str, repeats: int) -> None:
    """Warm up, say so, wait for a line, work, and say how long it took."""
    if side == OURS:
        settle()
    else:
        torch.set_num_threads(1)
    talk = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is not for the one who listens
    seconds: list[float] = []

    def between(laps: dict[str, float]) -> None:
        if not seconds:
            print("ready", file=talk, flush=True)
            if not sys.stdin.readline():
                sys.exit("nobody listens")
        elif select.select([0], [], [], 0)[0] and not os.read(0, 1):
            sys.exit("nobody listens any more")
        seconds.append(laps["step"])

    with tempfile.TemporaryDirectory() as scratch:
        _drive(profile, side, Path(scratch), 1 + repeats, between)
    print(json.dumps({"seconds": seconds[1:], "peak_mb": _peak()}), file=talk, flush=True)


def _peak() -> float:
    """MB, the most that this program has held.

    Linux counts what the process held before it became this program into ``ru_maxrss``: what its
    parent held. ``VmHWM`` begins anew.
    """
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(Profile(**json.loads(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
