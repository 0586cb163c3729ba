"""One run in a process of its own: ``python -m rlvr_placebo.study.worker PID CONFIG OUT SHARED``.

The process ends when its launcher (process PID) does, so that no orphan goes on writing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from rlvr_placebo.core.errors import BusyError, PlaceboError
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.settings import from_dict
from rlvr_placebo.train.watch import Silent

PR_SET_PDEATHSIG = 1
BUSY = 75  # exit status: another process is at this run


class _Leashed(Silent):
    """Ends the process when its parent has gone."""

    def __init__(self, launcher: int) -> None:
        self.launcher = launcher
        with contextlib.suppress(OSError, AttributeError):  # Linux: the kernel sees to it at once
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        self.progress("", 0, 0)

    def progress(self, what: str, done: int, total: int) -> None:
        if os.getppid() != self.launcher:
            sys.exit("the launcher has gone")


def main(arguments: list[str]) -> int:
    """Carry out one run; a user's mistake is one line on standard error and status 2."""
    launcher, document, out, shared = arguments
    leash = _Leashed(int(launcher))
    torch.set_num_threads(1)
    config = from_dict(json.loads(Path(document).read_text(encoding="utf-8")))
    try:
        run(config, Path(out), resume=True, watch=leash, shared=Path(shared))
    except BusyError:
        time.sleep(1.0)
        return BUSY
    except PlaceboError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
