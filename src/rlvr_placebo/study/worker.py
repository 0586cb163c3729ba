"""One run in a process of its own: ``python -m rlvr_placebo.study.worker CONFIG OUT BASELINES``.

The process ends when its launcher does, so that no orphan goes on writing.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.train.config import from_dict
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.watch import Silent


class _Leashed(Silent):
    """Ends the process when its parent has gone."""

    def __init__(self) -> None:
        self.parent = os.getppid()

    def progress(self, what: str, done: int, total: int) -> None:
        if os.getppid() != self.parent:
            sys.exit("the launcher has gone")


def main(arguments: list[str]) -> int:
    """Carry out one run; a user's mistake is one line on standard error and status 2."""
    document, out, baselines = arguments
    torch.set_num_threads(1)
    config = from_dict(json.loads(Path(document).read_text()))
    try:
        run(config, Path(out), resume=True, watch=_Leashed(), baselines=Path(baselines))
    except PlaceboError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
