"""Problems by name or from a file, and the order a run meets them in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Problem, problem_id
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.text.benchmarks import BENCHMARKS, SUFFIXES, locate
from rlvr_placebo.text.pocket import SETS, pocket_set
from rlvr_placebo.text.rows import read_rows

QUESTION_KEYS = ("problem", "question", "prompt")
ANSWER_KEYS = ("answer", "gold")
COLUMNS = ("question", "answer", "cluster", "difficulty")
OWN_KEYS = {*QUESTION_KEYS, *ANSWER_KEYS, "cluster", "difficulty", "split"}


def load_problems(name: str) -> list[Problem]:
    """Load a problem set by name, or a file with one problem a row.

    A file is JSONL (also gzipped), JSON, CSV or Parquet. A row needs ``problem`` (or ``question``)
    and ``answer`` (a value or a list of them), and may name its ``cluster`` and ``difficulty``;
    columns of other names are told behind the file's: ``mine.csv?question=Task&answer=Key``. What
    else it holds is kept for a user's reward.

    Raises:
        PlaceboError: no such set or file, or a row that is not a problem.
    """
    if name.startswith("pocket-"):
        return pocket_set(name)
    if name in BENCHMARKS:
        path, columns = locate(name), {}
    else:
        path, columns = _file_and_columns(name)
    problems = [
        _from_row(_renamed(row, columns, where), where, _stem(path))
        for where, row in read_rows(path)
    ]
    if not problems:
        raise PlaceboError(f"{path}: holds no problems")
    if name in BENCHMARKS:  # as it is published, repetitions and all; each problem counts once
        return list({p.id: p for p in problems}.values())
    return _unique(problems, path)


def _file_and_columns(name: str) -> tuple[Path, dict[str, str]]:
    """A file's path, and which of its columns holds what, from behind a question mark."""
    text, _, query = name.partition("?")
    path = Path(text)
    if not text.endswith(SUFFIXES):
        raise PlaceboError(
            f"unknown benchmark {name!r}: neither a problem set nor a file "
            f"({', '.join(SUFFIXES)}); {suggest(name, [*SETS, *BENCHMARKS])}"
        )
    columns: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, equals, column = part.partition("=")
        if key in columns:
            raise PlaceboError(f"benchmark {name!r}: {key} is named twice")
        if key not in COLUMNS or not equals or not column:
            raise PlaceboError(
                f"benchmark {name!r}: {part!r} must be one of {', '.join(COLUMNS)}, =, and a column"
            )
        columns[key] = column
    return path, columns


def _renamed(row: dict[str, Any], columns: Mapping[str, str], where: str) -> dict[str, Any]:
    """A row under our names for its columns."""
    if not columns:
        return row
    ours: dict[str, Any] = {}
    taken: set[str] = set(columns.values())
    for key, column in columns.items():
        if column not in row:
            raise PlaceboError(f"{where}: has no column {column!r}; there are {', '.join(row)}")
        own = {"question": QUESTION_KEYS, "answer": ANSWER_KEYS}.get(key, (key,))
        ours[own[0]] = row[column]
        taken.update(own)
    return {k: v for k, v in row.items() if k not in taken} | ours


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _from_row(row: dict[str, Any], where: str, source: str) -> Problem:
    """Make a problem of one row of a file."""
    question, answer = _field(row, QUESTION_KEYS, where), _field(row, ANSWER_KEYS, where)
    if not isinstance(question, str) or not question.strip():
        raise PlaceboError(f"{where}: the question must be a text, and not empty")
    answers = answer if isinstance(answer, list) else [answer]
    messages = ({"role": "user", "content": question},)
    golds = tuple(_gold(a, where) for a in answers)
    if not golds:
        raise PlaceboError(f"{where}: the list of answers is empty")
    identity = problem_id(messages, golds)
    return Problem(
        id=identity,
        messages=messages,
        golds=golds,
        cluster=identity if row.get("cluster") is None else str(row["cluster"]),
        source=source,
        split=str(row.get("split", "test")),
        difficulty=_difficulty(row.get("difficulty"), where),
        extra={key: value for key, value in row.items() if key not in OWN_KEYS},
    )


def _difficulty(value: object, where: str) -> float | None:
    """A number, also as the text that CSV makes of it."""
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int | float) or not _is_number(number):
        raise PlaceboError(f"{where}: difficulty must be a number")
    return float(number)


def _is_number(value: object) -> bool:
    """Whether a JSON value is a finite number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < 10**300 if isinstance(value, int) else math.isfinite(value)


def _gold(answer: object, where: str) -> str:
    """One gold answer; of a worked solution in GSM8K's way, what stands behind ``####``."""
    if _is_number(answer):
        return str(answer)
    if not isinstance(answer, str) or not answer.strip():
        raise PlaceboError(f"{where}: an answer must be a text or a number, and not empty")
    gold = answer.rsplit("####", 1)[-1].strip()
    if gold.startswith("\\[") or "\\begin{" in gold:  # one formula over several lines
        gold = " ".join(gold.split())
    if not gold or "\n" in gold:
        raise PlaceboError(f"{where}: the answer has several lines; give the final answer alone")
    return gold


def _field(row: dict[str, Any], keys: Sequence[str], where: str) -> Any:  # noqa: ANN401
    """First present field of ``keys``."""
    for key in keys:
        if row.get(key) is not None:
            return row[key]
    raise PlaceboError(f"{where}: has none of the fields {', '.join(keys)}")


def _unique(problems: list[Problem], path: Path) -> list[Problem]:
    """Refuse a file in which a problem stands twice: its samples would count double."""
    seen: dict[str, int] = {}
    for index, problem in enumerate(problems, 1):
        if problem.id in seen:
            raise PlaceboError(f"{path}: problem {index} repeats problem {seen[problem.id]}")
        seen[problem.id] = index
    return problems


def content_hash(problems: Sequence[Problem]) -> str:
    """Hash of a problem set: ids (hashes of question and golds) and clusters, in order."""
    return digest([[p.id, p.cluster] for p in problems])


def batch_for(pool: Sequence[Problem], run_seed: int, step: int, size: int) -> list[Problem]:
    """Problems of one step: a pass over the pool in an order drawn anew for every epoch.

    The order depends on the run's seed and the pool alone, never on the reward, so all arms of a
    study meet the same problems at the same step.

    Args:
        pool: the training problems.
        run_seed: seed of the run.
        step: step number, from 1.
        size: problems in a step.
    """
    first = (step - 1) * size
    orders: dict[int, Any] = {}
    batch = []
    for position in range(first, first + size):
        epoch, place = divmod(position, len(pool))
        if epoch not in orders:
            rng = generator_for(run_seed, epoch, "", 0, "problem order")
            orders[epoch] = rng.permutation(len(pool))
        batch.append(pool[int(orders[epoch][place])])
    return batch
