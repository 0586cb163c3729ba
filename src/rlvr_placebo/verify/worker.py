"""The process that does algebra, and may be killed at any time.

``python -m rlvr_placebo.verify.worker`` imports SymPy once, then forks a child that answers
requests from standard input, one at a time. Killed for a time-out, or dead of its memory limit, the
child is replaced by a fork within milliseconds. It announces itself by a message with its ``pid``.
A reply carries the number of its request. Messages are JSON behind their length in four bytes.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from typing import Any

MEMORY = 1 << 30  # bytes a child may take beyond what it begins with


def send(fd: int, message: dict[str, Any]) -> None:
    """Write one message, whole."""
    body = json.dumps(message).encode()
    data = len(body).to_bytes(4, "big") + body
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int) -> dict[str, Any] | None:
    """Read one message; None at the end of the stream."""
    head = _exactly(fd, 4)
    body = _exactly(fd, int.from_bytes(head, "big")) if head else None
    return json.loads(body) if body else None


def _exactly(fd: int, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = os.read(fd, count - len(data))
        if not more:
            return None
        data += more
    return data


def main() -> None:
    """Keep one child alive until the other side closes the pipe, or dies."""
    parent = os.getppid()
    from rlvr_placebo.verify import algebra  # the seconds this takes are spent once

    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints does not break the protocol
    while True:
        pid = os.fork()
        if pid == 0:
            try:
                _serve(answers, algebra)
            except BrokenPipeError:  # no one listens any more
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        if (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0) or os.getppid() != parent:
            return


def _serve(answers: int, algebra: Any) -> None:  # noqa: ANN401 (the module)
    """Answer requests until the pipe is closed."""
    _limit_memory()
    send(answers, {"pid": os.getpid()})
    while True:
        request = receive(0)
        if request is None:
            os._exit(0)
        _limit_time(request["seconds"])
        send(answers, {**_answer(request, algebra), "number": request["number"]})


def _answer(request: dict[str, Any], algebra: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        return OPERATIONS[request["do"]](algebra, request)
    except MemoryError:
        os._exit(1)  # in a state no one knows: begin anew
    except BaseException as error:  # noqa: BLE001 (SymPy raises whatever it likes)
        return {"correct": None, "status": "ERROR", "rule": type(error).__name__}


def _solve(algebra: Any, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    correct, status, rule = algebra.solve(request["gold"], request["answer"])
    return {"correct": correct, "status": str(status), "rule": rule}


OPERATIONS = {
    "sign": lambda _algebra, _request: {},
    "solve": _solve,
    "read": lambda algebra, r: {"correct": algebra.read(r["text"]) is not None},
    "plain": lambda algebra, r: {"correct": algebra.plain(r["gold"], r["answer"])},
}


def _limit_memory() -> None:
    """Let the child take so much more than it has now, where the system can."""
    try:
        with open("/proc/self/statm") as stream:
            size = int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    except (OSError, ValueError):
        return


def _limit_time(seconds: float) -> None:
    """Die of processor time by itself, should the other side be dead and no one kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(spent + seconds) + 2, hard))


if __name__ == "__main__":
    sys.exit(main())
