"""Jobs in processes of their own: ``python -m rlvr_placebo.study.worker LAUNCHER``.

This process imports torch and its relatives once, in three seconds, and forks a child for every job
that is asked of it on standard input. Requests are JSON lines (``name``, ``work``, ``arguments``,
``log``); answers on standard output are the child's ``pid`` and, when it has ended, its
``status``. When the launcher (process LAUNCHER) goes, all of them go, so that no orphan writes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rlvr_placebo.clipping.drift import Lab, measure_drift
from rlvr_placebo.core.errors import BusyError, PlaceboError
from rlvr_placebo.evaluate.contract import EvaluationConfig
from rlvr_placebo.model.process import settle
from rlvr_placebo.pocket.build import build
from rlvr_placebo.pocket.families import variety_of
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.prompts import sweep_prompts
from rlvr_placebo.train.settings import from_dict
from rlvr_placebo.train.standalone import Computing, Place, documented, evaluate_model
from rlvr_placebo.train.watch import Silent, Watch

PR_SET_PDEATHSIG = 1
BUSY = 75  # exit status: another process is at this job
PAUSE = 0.05  # seconds between two looks at the children


class _Leashed(Silent):
    """Ends the process when its parent has gone."""

    def __init__(self, parent: int) -> None:
        self.parent = parent
        with contextlib.suppress(OSError, AttributeError):  # Linux: the kernel sees to it at once
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        self.progress("", 0, 0)

    def progress(self, what: str, done: int, total: int) -> None:
        if os.getppid() != self.parent:
            sys.exit("the launcher has gone")


def main(arguments: list[str]) -> int:
    """Fork a child for every request until standard input is closed."""
    leash = _Leashed(int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the launcher
    settle()
    # What the first optimizer would import, in every child anew.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    children: dict[int, str] = {}
    pending = b""
    while True:
        leash.progress("", 0, 0)
        if select.select([0], [], [], PAUSE)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = _fork(request)
                children[pid] = request["name"]
                _say(name=request["name"], pid=pid)
        for pid in list(children):
            if (status := _ended(pid)) is not None:
                _say(name=children.pop(pid), status=status)
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    return 0


def _ended(pid: int) -> int | None:
    """The exit status of a child (minus the signal that killed it), or None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _say(**message: Any) -> None:  # noqa: ANN401 (any JSON value)
    os.write(1, json.dumps(message).encode() + b"\n")


def _fork(request: dict[str, Any]) -> int:
    """Start a job in a child; its output goes to its log."""
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for new, old in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(new, old)
        status = carry_out(request, nursery)
    except SystemExit as end:
        sys.stderr.write(f"{end}\n")
    except BaseException:  # noqa: BLE001 (whatever it was, it stands in the log)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def carry_out(request: dict[str, Any], parent: int) -> int:
    """Carry out one job; a user's mistake is one line on standard error and status 2."""
    leash = _Leashed(parent)
    try:
        WORK[request["work"]](watch=leash, **request["arguments"])
    except BusyError:
        time.sleep(1.0)
        return BUSY
    except PlaceboError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _train(config: dict[str, Any], out: str, shared: str, watch: Watch) -> None:
    run(from_dict(config), Path(out), resume=True, watch=watch, shared=Path(shared))


def _sweep(model: str, how: dict[str, Any], templates: list[str], out: str, watch: Watch,
           computing: dict[str, Any]) -> None:  # fmt: skip
    place = Place(Path(out), resume=True)
    sweep_prompts(model, _evaluation(how), templates, place, watch, Computing(**computing))


def _evaluate(model: str, how: dict[str, Any], template: str, out: str, watch: Watch,
              computing: dict[str, Any]) -> None:  # fmt: skip
    place = Place(Path(out), resume=True)
    evaluate_model(model, _evaluation(how), template, place, watch, Computing(**computing))


def _evaluation(how: dict[str, Any]) -> EvaluationConfig:
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in how.items()}
    return EvaluationConfig(**given)


def _drift(lab: dict[str, Any], out: str, watch: Watch) -> None:
    measure_drift(Lab(**lab), Path(out), watch)


def _build(model: str, out: str, watch: Watch) -> None:
    del watch  # a build says nothing while it is made
    place = Path(out)
    documented(place, {"model": model}, True, "build.json", lambda _: {
        "folder": str(build(variety_of(model)))
    })  # fmt: skip


WORK: dict[str, Callable[..., None]] = {
    "train": _train,
    "sweep": _sweep,
    "evaluate": _evaluate,
    "drift": _drift,
    "build": _build,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
