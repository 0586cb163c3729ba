"""Judge a file of pairs: any number of lines, in order, killed and continued at any time."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Status, Verification
from rlvr_placebo.verify.extract import extract_answer
from rlvr_placebo.verify.judge import VERSION, verify_answer
from rlvr_placebo.verify.numeric import surely_different, value_of
from rlvr_placebo.verify.solver import Solver

CHUNK = 2000  # lines between two reports of progress
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


def verify_file(
    path: Path,
    out: Path,
    workers: int,
    check: bool,
    progress: Callable[[str, int, int], None],
) -> Summary:
    """Judge every line of a JSONL file (``gold``, ``answer``) and write one line for each.

    A line of the output has ``correct``, ``status`` and ``extracted``. Killed, the same call goes
    on behind the last whole line.

    Args:
        path: the pairs; ``gold`` may be a list of which any one will do.
        out: where the judgements go.
        workers: processes that do algebra.
        check: have a second judge, which shares no code with the first, compute the values as well.
        progress: hears of lines.

    Raises:
        PlaceboError: the file cannot be read, or a line is no pair; found before any is judged.
    """
    total = sum(1 for _ in _pairs(path))
    if out.exists() and out.resolve() == path.resolve():
        raise PlaceboError(f"{out}: is the file of pairs itself; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    status = path.stat()
    mark = digest([str(path.resolve()), status.st_size, status.st_mtime_ns, VERSION])
    partial = out.with_name(f".{out.name}-{mark}.partial")
    done = _whole_lines(partial)
    summary = Summary()
    if done:
        _recount(partial, path, summary, check)
    mine = threading.local()
    solvers: list[Solver] = []

    def judged(pair: Pair) -> Verification:
        if not hasattr(mine, "solver"):
            mine.solver = Solver()
            solvers.append(mine.solver)
        return verify_answer(stated(pair.answer), pair.golds, mine.solver)

    try:
        with partial.open("ab") as stream, ThreadPoolExecutor(workers) as pool:
            rest = islice(_pairs(path), done, None)
            while chunk := list(islice(rest, CHUNK)):
                found = list(pool.map(judged, chunk))
                lines = [json.dumps(_line(v), ensure_ascii=False) + "\n" for v in found]
                stream.write("".join(lines).encode("utf-8", "backslashreplace"))
                stream.flush()
                _count(summary, chunk, found, check)
                progress("pairs", summary.lines, total)
            os.fsync(stream.fileno())
    finally:
        for solver in solvers:
            solver.close()
    partial.replace(out)
    return summary


def stated(answer: str) -> str | None:
    """What a text states as its answer; a text that states none is the answer."""
    return extract_answer(answer) or answer.strip() or None


def _line(found: Verification) -> dict[str, Any]:
    return {"correct": found.correct, "status": found.status, "extracted": found.extracted}


def _pairs(path: Path) -> Iterator[Pair]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                yield _pair(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PlaceboError(f"{path}: cannot be read ({reason})") from None


def _pair(line: str, where: str) -> Pair:
    try:
        row = json.loads(line)
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


def _whole_lines(path: Path) -> int:
    """Lines of a partial output; what a kill has torn is cut off."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return whole.count(b"\n")


def _recount(partial: Path, path: Path, summary: Summary, check: bool) -> None:
    """Count what a killed call had judged already."""
    with partial.open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    found = [Verification(r["correct"], Status(r["status"]), r["extracted"]) for r in rows]
    _count(summary, list(islice(_pairs(path), len(found))), found, check)


def _count(
    summary: Summary, pairs: Sequence[Pair], found: Sequence[Verification], check: bool
) -> None:
    for pair, one in zip(pairs, found, strict=True):
        summary.lines += 1
        named = {True: "right", False: "wrong"}
        summary.counts[str(one.status) if one.correct is None else named[one.correct]] += 1
        if check and one.correct is not None and one.extracted is not None:
            _check(summary, pair, one)


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
