"""The launcher's side of :mod:`rlvr_placebo.study.worker`: start jobs, hear how they ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError


class Nursery:
    """One process that forks a child for every job; started again if it dies.

    Attributes:
        running: the jobs that have not ended, with the process each is in (0 until it is known).
    """

    def __init__(self) -> None:
        """Nothing is started yet."""
        self.running: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""

    def start(self, name: str, work: str, arguments: Mapping[str, Any], log: Path) -> None:
        """Carry out a job, known by its name from now on; what it says goes to a file."""
        self.warm()
        assert self._process is not None
        assert self._process.stdin is not None
        self.running[name] = 0
        request = {"name": name, "work": work, "arguments": arguments, "log": str(log)}
        with contextlib.suppress(BrokenPipeError):  # it has died: `ended` will say so
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def ended(self) -> list[tuple[str, int]]:
        """Jobs that have ended since the last call, with their exit status.

        Raises:
            PlaceboError: the process does not start, for a reason of its own.
        """
        found = []
        for message in self._messages():
            if "pid" in message:
                self.running[message["name"]] = message["pid"]
            elif self.running.pop(message["name"], None) is not None:
                found.append((message["name"], message["status"]))
        if self._process is not None and (status := self._process.poll()) is not None:
            self._drop()
            if status > 0:
                raise PlaceboError(
                    f"study: its worker does not start (exit status {status}); `python -m "
                    "rlvr_placebo.study.worker 0` says why"
                )
            found += [(name, -signal.SIGKILL) for name in self.running]  # they went with it
            self.running.clear()
        return found

    def stop(self) -> None:
        """End all jobs, and wait until they have ended."""
        if self._process is None:
            return
        for pid in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM) if pid else None
        if not self.running:
            self._process.kill()
        self._drop(end=True)
        self.running.clear()

    def warm(self) -> None:
        """Start the process, which then has its imports done when the first job comes."""
        if self._process is not None:
            return
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rlvr_placebo.study.worker", str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _drop(self, end: bool = False) -> None:
        """Close the pipes; the process ends with them."""
        process, self._process, self._heard = self._process, None, b""
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        if end:
            process.wait()
        process.stdout.close()

    def _messages(self) -> Iterator[dict[str, Any]]:
        """What the process has said since the last call."""
        if self._process is None or self._process.stdout is None:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._process.stdout.fileno(), 1 << 16):
                self._heard += data
        *lines, self._heard = self._heard.split(b"\n")
        yield from map(json.loads, lines)
