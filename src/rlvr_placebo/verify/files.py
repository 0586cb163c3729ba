"""Judge a file of pairs: any number of lines, in order, killed and continued at any time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from rlvr_placebo.core.errors import BusyError, PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Status, Verification
from rlvr_placebo.verify.canonical import LONGEST
from rlvr_placebo.verify.extract import extract_answer
from rlvr_placebo.verify.judge import VERSION, verify_answer
from rlvr_placebo.verify.numeric import surely_different, value_of
from rlvr_placebo.verify.solver import Solver

CHUNK = 2000  # pairs that are held at a time, and at most so many characters
CHUNK_SIZE = 4_000_000
MOST_WORKERS = 64
SHOWN = 20  # disagreements kept of those that are counted


class Pair(NamedTuple):
    """One line of the file."""

    golds: tuple[str, ...]
    answer: str


@dataclass
class Summary:
    """What was found.

    Attributes:
        lines: of the file.
        counts: of each outcome: ``right``, ``wrong``, or the status of what is unknown.
        checked: pairs that the second judge could judge as well, if it was asked.
        disagreements: how often it found otherwise.
        examples: the first of these.
    """

    lines: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    disagreements: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def count(self, pair: Pair, found: Verification, check: bool) -> None:
        """Take in one judgement."""
        self.lines += 1
        named = {True: "right", False: "wrong"}
        self.counts[str(found.status) if found.correct is None else named[found.correct]] += 1
        if check and found.correct is not None and found.extracted is not None:
            _check(self, pair, found)


def verify_file(
    path: Path,
    out: Path,
    workers: int,
    check: bool,
    progress: Callable[[str, int, int], None],
) -> Summary:
    """Judge every line of a JSONL file (``gold``, ``answer``) and write one line for each.

    A line of the output has ``correct``, ``status`` and ``extracted`` (its first 4,000 characters).
    Killed, the same call goes on behind the last whole line.

    Args:
        path: the pairs; ``gold`` may be a list of which any one will do.
        out: where the judgements go; must not exist.
        workers: processes that do algebra.
        check: have a second judge, which shares no code with the first, compute the values as well.
        progress: hears of lines.

    Raises:
        PlaceboError: the file cannot be read, or a line is no pair; found before any is judged.
        BusyError: another process is judging the same file into the same place.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise PlaceboError(f"verify: --workers must lie in [1, {MOST_WORKERS}]")
    mark = _mark(path)
    partial = _place(path, out, digest([*mark, VERSION]))
    total = sum(1 for _ in _pairs(path))
    if total == 0:
        raise PlaceboError(f"{path}: holds no pairs")
    summary = Summary()
    with _locked(partial) as stream:
        done = _recount(stream, path, summary, check)
        mine = threading.local()
        solvers: list[Solver] = []

        def judged(pair: Pair) -> Verification:
            if not hasattr(mine, "solver"):
                mine.solver = Solver()
                solvers.append(mine.solver)
            return verify_answer(stated(pair.answer), pair.golds, mine.solver.item())

        try:
            with ThreadPoolExecutor(workers) as pool:
                for chunk in _chunks(islice(_pairs(path), done, None)):
                    for pair, found in zip(chunk, pool.map(judged, chunk), strict=True):
                        stream.write(_line(found))
                        stream.flush()
                        summary.count(pair, found, check)
                        progress("pairs", summary.lines, total)
            os.fsync(stream.fileno())
        finally:
            for solver in solvers:
                solver.close()
        if summary.lines != total or _mark(path) != mark:
            raise PlaceboError(f"{path}: was changed while it was judged; run again")
        partial.replace(out)
    return summary


def stated(answer: str) -> str | None:
    """What a text states as its answer; a text that states none is the answer."""
    return extract_answer(answer) or answer.strip() or None


def _mark(path: Path) -> list[Any]:
    """What tells a file from another one, or from itself when it is changed.

    Raises:
        PlaceboError: it cannot be read twice, as a pipe, or not at all.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PlaceboError(f"{path}: cannot be read ({reason})") from None
    if not stat.S_ISREG(status.st_mode):
        raise PlaceboError(f"{path}: is no file of pairs (pipes and folders cannot be judged)")
    return [os.fsencode(path.resolve()).hex(), status.st_size, status.st_mtime_ns]


def _place(path: Path, out: Path, mark: str) -> Path:
    """The unfinished output, in a folder where it can be written.

    Raises:
        PlaceboError: ``out`` is in use, or cannot be written.
    """
    if out.name in ("", "..") or os.path.lexists(out):
        raise PlaceboError(f"--out {str(out)!r}: is there already, or no name for a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}-{mark}.partial")
        with partial.open("ab"):
            return partial
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PlaceboError(f"--out {str(out)[:200]}: cannot be written ({reason})") from None


@contextlib.contextmanager
def _locked(partial: Path) -> Generator[BinaryIO]:
    """The unfinished output, open and nobody else's."""
    with partial.open("r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"{partial}: another process is writing this file") from None
        yield stream


def _chunks(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    """Parts of at most ``CHUNK`` pairs and about ``CHUNK_SIZE`` characters."""
    chunk: list[Pair] = []
    size = 0
    for pair in pairs:
        chunk.append(pair)
        size += len(pair.answer) + sum(map(len, pair.golds))
        if len(chunk) == CHUNK or size > CHUNK_SIZE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _line(found: Verification) -> bytes:
    extracted = found.extracted and found.extracted[:LONGEST]
    row = {"correct": found.correct, "status": found.status, "extracted": extracted}
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _pairs(path: Path) -> Iterator[Pair]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                yield _pair(line, f"{path}:{number}")
    except OSError as error:
        raise PlaceboError(f"{path}: cannot be read ({error.strerror})") from None


def _pair(line: bytes, where: str) -> Pair:
    try:
        row = json.loads(line.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise PlaceboError(f"{where}: is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise PlaceboError(f"{where}: not JSON ({str(error)[:80]})") from None
    if not isinstance(row, dict) or not {"gold", "answer"} <= row.keys():
        raise PlaceboError(f"{where}: a line must be an object with gold and answer")
    golds = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    values = [*golds, "" if row["answer"] is None else row["answer"]]
    if not golds or any(isinstance(v, bool) or not isinstance(v, str | int | float)
                        for v in values):  # fmt: skip
        raise PlaceboError(f"{where}: gold and answer must be texts or numbers")
    return Pair(tuple(str(g) for g in golds), str(values[-1]))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _recount(stream: BinaryIO, path: Path, summary: Summary, check: bool) -> int:
    """Count what a killed call had judged; what it left torn or damaged is cut off."""
    good = 0
    for line, pair in zip(stream, _pairs(path), strict=False):
        try:
            row = json.loads(line)
            found = Verification(row["correct"], Status(row["status"]), row["extracted"])
        except (ValueError, KeyError, TypeError):
            break
        if not line.endswith(b"\n"):
            break
        good += len(line)
        summary.count(pair, found, check)
    stream.truncate(good)
    stream.seek(good)
    return summary.lines


def _check(summary: Summary, pair: Pair, one: Verification) -> None:
    """Let the second judge compute the values, where both sides have one."""
    assert one.extracted is not None
    if value_of(one.extracted) is None or any(value_of(g) is None for g in pair.golds):
        return
    summary.checked += 1
    other = not all(surely_different(gold, one.extracted) for gold in pair.golds)
    if other != one.correct:
        summary.disagreements += 1
        if len(summary.examples) < SHOWN:
            summary.examples.append(
                {"gold": list(pair.golds), "answer": one.extracted, "correct": one.correct,
                 "second judge": other}
            )  # fmt: skip
