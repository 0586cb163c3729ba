"""Problems by name (the pocket sets) or from a JSONL file, and the order a run meets them in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Problem, problem_id
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.text.pocket import SETS, pocket_set

QUESTION_KEYS = ("problem", "question", "prompt")
ANSWER_KEYS = ("answer", "gold")
OWN_KEYS = {*QUESTION_KEYS, *ANSWER_KEYS, "cluster", "difficulty", "split"}


def load_problems(name: str) -> list[Problem]:
    """Load a problem set by name, or a JSONL file with one problem a line.

    A line needs ``problem`` (or ``question``) and ``answer`` (a value or a list of them), and may
    name its ``cluster`` and ``difficulty``. What else it holds is kept for a user's reward.

    Raises:
        PlaceboError: no such set or file, or a line that is not a problem.
    """
    if name.startswith("pocket-"):
        return pocket_set(name)
    path = Path(name)
    if path.suffix != ".jsonl":
        raise PlaceboError(
            f"unknown benchmark {name!r}: neither a problem set nor a .jsonl file; "
            f"{suggest(name, SETS)}"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PlaceboError(f"{path}: cannot be read ({reason})") from None
    problems = [
        _from_line(line, f"{path}:{i}", path.stem)
        for i, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not problems:
        raise PlaceboError(f"{path}: holds no problems")
    return _unique(problems, path)


def _from_line(line: str, where: str, source: str) -> Problem:
    """Read one line of a problem file."""
    try:
        row = json.loads(line)
        line.encode()
        json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise PlaceboError(f"{where}: not JSON ({str(error)[:80]})") from None
    if not isinstance(row, dict):
        raise PlaceboError(f"{where}: a problem must be a JSON object")
    question, answer = _field(row, QUESTION_KEYS, where), _field(row, ANSWER_KEYS, where)
    if not isinstance(question, str) or not question.strip():
        raise PlaceboError(f"{where}: the question must be a text, and not empty")
    answers = answer if isinstance(answer, list) else [answer]
    messages = ({"role": "user", "content": question},)
    golds = tuple(_gold(a, where) for a in answers)
    if not golds:
        raise PlaceboError(f"{where}: the list of answers is empty")
    identity = problem_id(messages, golds)
    difficulty = row.get("difficulty")
    if difficulty is not None and not _is_number(difficulty):
        raise PlaceboError(f"{where}: difficulty must be a number")
    return Problem(
        id=identity,
        messages=messages,
        golds=golds,
        cluster=identity if row.get("cluster") is None else str(row["cluster"]),
        source=source,
        split=str(row.get("split", "test")),
        difficulty=None if difficulty is None else float(difficulty),
        extra={key: value for key, value in row.items() if key not in OWN_KEYS},
    )


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
