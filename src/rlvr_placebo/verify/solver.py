"""Ask the worker: with a hard limit of time per question, from any thread, cached."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Status
from rlvr_placebo.verify.equivalence import Finding
from rlvr_placebo.verify.worker import receive, send

SECONDS = 5.0  # per question
START = 120.0  # seconds until a worker must have imported SymPy, on a busy machine
REMEMBERED = 100_000
DIED = "the worker died"

_ALL: weakref.WeakSet[Solver] = weakref.WeakSet()


def _after_fork() -> None:
    for solver in list(_ALL):
        solver._forget()


os.register_at_fork(after_in_child=_after_fork)


class Solver:
    """One worker process, started when first asked. Safe to share between threads.

    Attributes:
        seconds: after so long an item is given up and the worker killed.
        asked: messages that went to the worker.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        """Set the limit of time; nothing is started yet."""
        self.seconds = seconds
        self.asked = 0
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, str], Finding] = OrderedDict()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._child = 0
        atexit.register(self.close)
        _ALL.add(self)

    def __call__(self, gold: str, answer: str, seconds: float | None = None) -> Finding:
        """Judge a pair in canonical spelling; see :func:`rlvr_placebo.verify.algebra.solve`.

        Args:
            gold: the right answer.
            answer: the given one.
            seconds: a shorter limit than the usual one; a time-out under it is not remembered.

        Raises:
            PlaceboError: the worker cannot be started.
        """
        with self._lock:
            if (gold, answer) in self._known:
                self._known.move_to_end((gold, answer))
                return self._known[gold, answer]
            allowed = self.seconds if seconds is None else seconds
            request = {"do": "solve", "gold": gold, "answer": answer}
            reply = self._ask(request, allowed)
            if reply["status"] == Status.ERROR and reply["rule"].startswith(DIED):
                reply = self._ask(request, allowed)  # a stray kill; what needs too much dies again
            finding = Finding(reply["correct"], Status(reply["status"]), reply["rule"])
            if finding.status is not Status.TIMEOUT or allowed >= self.seconds:
                self._known[gold, answer] = finding
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return finding

    def item(self) -> Callable[[str, str], Finding]:
        """This solver for one item: all questions that it takes share one limit of time."""
        spent = 0.0

        def ask(gold: str, answer: str) -> Finding:
            nonlocal spent
            if spent >= self.seconds:
                return Finding(None, Status.TIMEOUT, f"more than {self.seconds:g} s")
            started = time.monotonic()
            finding = self(gold, answer, self.seconds - spent)
            spent += time.monotonic() - started
            return finding

        return ask

    def readable(self, text: str) -> bool:
        """Whether a text can be read as mathematics."""
        with self._lock:
            return bool(self._ask({"do": "read", "text": text}, self.seconds)["correct"])

    def plain(self, gold: str, answer: str) -> bool | None:
        """What ``math-verify`` alone says of a pair; None where it does not say."""
        with self._lock:
            asked = {"do": "plain", "gold": gold, "answer": answer}
            return self._ask(asked, self.seconds)["correct"]

    def close(self) -> None:
        """End the worker."""
        if self._process is None or self._owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            if self._child:
                os.kill(self._child, signal.SIGKILL)
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process = None

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send one question and wait for its answer, no longer than allowed."""
        try:
            return self._put(request, seconds)
        except (OSError, EOFError):
            self.close()
            return _unknown(Status.ERROR, DIED)
        except BaseException:  # a question is open: its answer must not be taken for the next one's
            self.close()
            raise

    def _put(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to one question; that to an earlier one, which may still come, is dropped."""
        reader, writer = self._running()
        number, sign = self._send(writer, {**request, "seconds": seconds}), -1
        until = time.monotonic() + seconds
        while (reply := self._reply(reader, until - time.monotonic())) is not None:
            if "pid" in reply:  # a child has died, with the question or idle: the next one will say
                self._child = reply["pid"]
                sign = self._send(writer, {"do": "sign", "seconds": seconds})
            elif reply["number"] == number:
                return reply
            elif reply["number"] == sign:
                return _unknown(Status.ERROR, f"{DIED} (memory)")
        os.kill(self._child, signal.SIGKILL)
        self._meet(reader)
        return _unknown(Status.TIMEOUT, f"more than {self.seconds:g} s")

    def _send(self, writer: int, request: dict[str, Any]) -> int:
        self.asked += 1
        send(writer, {**request, "number": self.asked})
        return self.asked

    def _forget(self) -> None:
        """Be new in a forked process: the worker, and whoever holds the lock, are the parent's."""
        self._lock = Lock()
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream:
                    stream.close()
            self._process.returncode = 0  # not ours to wait for
            self._process = None

    def _running(self) -> tuple[int, int]:
        """File descriptors of a worker of this very process."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            if self._owner == os.getpid():
                self.close()
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno(), self._process.stdin.fileno()

    def _start(self) -> None:
        home = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rlvr_placebo.verify.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the one who asks
            env={**os.environ, "PYTHONPATH": path},
        )
        self._owner = os.getpid()
        assert self._process.stdout is not None
        try:
            self._meet(self._process.stdout.fileno())
        except EOFError:
            raise PlaceboError(
                "verifier: its worker does not start; `python -m rlvr_placebo.verify.worker` says "
                "why"
            ) from None

    def _meet(self, reader: int) -> None:
        """Wait until a child announces itself; what an earlier one still said is dropped."""
        until = time.monotonic() + START
        while (reply := self._reply(reader, until - time.monotonic())) is not None:
            if "pid" in reply:
                self._child = reply["pid"]
                return
        raise EOFError("no worker")

    def _reply(self, reader: int, seconds: float) -> dict[str, Any] | None:
        """The next message, or None when the time is over.

        Raises:
            EOFError: the worker is gone.
        """
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        if not poll.poll(max(0.0, 1000 * seconds)):
            return None
        message = receive(reader)
        if message is None:
            raise EOFError("the worker is gone")
        return message


def _unknown(status: Status, rule: str) -> dict[str, Any]:
    return {"correct": None, "status": str(status), "rule": rule}
