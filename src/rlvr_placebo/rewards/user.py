"""A user's own reward: a Python function, in our signature or in TRL's.

``file.py:function`` or ``module:function`` names it. By its parameters it is

- ``f(rollout) -> float | None``: a reward of one completion;
- ``f(group, rng) -> list``: one number (or None, or ``Score``) per rollout, where ``rng`` is the
  only source of randomness;
- TRL's ``f(prompts, completions, **kwargs) -> list``, with ``completion_ids``, the problem's
  columns (``answer``, ``golds``, ``problem``, ``problem_id``, ``source``, ``cluster``) and
  ``trainer_state=None``; it may be ``async``.

None, NaN and infinity are unknown rewards, and counted. An exception, or another number of rewards
than completions, ends the run with one line.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Group, Score, Status
from rlvr_placebo.rewards.protocol import PerCompletion, Reward, score

_REFERENCE = re.compile(r"(?P<where>[^:()\s,]+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def is_reference(text: str) -> bool:
    """Whether a text names a function: ``file.py:function`` or ``module:function``."""
    return _REFERENCE.fullmatch(text) is not None


def load(reference: str) -> Reward:
    """Import a user's function and fit it to the protocol.

    Raises:
        PlaceboError: there is no such file, module or function; its code fails; or its parameters
            are those of no known signature.
    """
    function = _function(reference)
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise PlaceboError(f"reward {reference}: its parameters cannot be read") from None
    if names[:1] == ["rollout"]:
        return Guarded(reference, PerCompletion(function))
    if names[:1] == ["group"]:
        return Guarded(reference, function if len(names) > 1 else _WithoutRng(function))
    if "completions" in names or (names and names[0] == "prompts"):
        return Guarded(reference, TRL(function))
    raise PlaceboError(
        f"reward {reference}: takes ({', '.join(names)}); write f(rollout), f(group, rng), or "
        "f(prompts, completions, **kwargs) as for TRL"
    )


def code_digest(reference: str) -> str:
    """Hash of the file that holds a user's function: a run knows the code of its reward.

    Raises:
        PlaceboError: there is no such file or module.
    """
    path = getattr(_module(reference), "__file__", None)
    if not path:
        raise PlaceboError(f"reward {reference}: its module is not a file")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _function(reference: str) -> Callable[..., Any]:
    match = _REFERENCE.fullmatch(reference)
    assert match is not None
    function = getattr(_module(reference), match["name"], None)
    if not callable(function):
        found = "is no function" if function is not None else "does not exist"
        raise PlaceboError(f"reward {reference}: {match['name']} {found} in {match['where']}")
    return function


@cache
def _module(reference: str) -> ModuleType:
    """Import the file or module of a reference, once."""
    match = _REFERENCE.fullmatch(reference)
    assert match is not None
    where = match["where"]
    try:
        return _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except PlaceboError:
        raise
    except ModuleNotFoundError as error:
        if error.name and where.startswith(error.name):
            raise PlaceboError(f"reward {reference}: there is no module {where}") from None
        raise PlaceboError(f"reward {reference}: {_told(error)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a user's code may fail in any way)
        raise PlaceboError(f"reward {reference}: its file fails: {_told(error)}") from None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PlaceboError(f"reward file {path}: there is none")
    name = f"placebo_reward_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _told(error: BaseException) -> str:
    """An exception and the place of the user's code that raised it, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((f for f in reversed(frames) if "rlvr_placebo" not in f.filename), None)
    where = f" ({Path(last.filename).name}:{last.lineno})" if last else ""
    said = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {said}{where}" if said else f"{type(error).__name__}{where}"


@dataclass(frozen=True)
class Guarded:
    """Turns what a user's function may do wrong into one line, or into a counted unknown."""

    reference: str
    inner: Callable[[Group, np.random.Generator], Any]

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Call the function and check what it gives."""
        try:
            given = self.inner(group, rng)
        except Exception as error:  # noqa: BLE001 (a user's code may fail in any way)
            raise PlaceboError(
                f"reward {self.reference} failed on problem {group.problem.id}: {_told(error)}"
            ) from None
        if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__len__"):
            self._refuse(f"gave {type(given).__name__}, a list of numbers is wanted")
        if len(given) != len(group.rollouts):
            self._refuse(f"gave {len(given)} rewards for {len(group.rollouts)} completions")
        pairs = zip(group.rollouts, given, strict=True)
        return [self._fitted(score(rollout, None), value) for rollout, value in pairs]

    def _refuse(self, what: str) -> None:
        raise PlaceboError(f"reward {self.reference} {what}")

    def _fitted(self, own: Score, value: object) -> Score:
        """A score of what the function gave; the verifier's findings stay ours."""
        parts: Mapping[str, float] = {}
        if isinstance(value, Score):
            parts, value = value.parts, value.reward
        if value is None:
            return Score(None, own.correct, parts, own.status)
        try:
            number = float(value)  # ty: ignore[invalid-argument-type]
        except (TypeError, ValueError):
            self._refuse(f"gave {value!r:.40} for a completion, a number or None is wanted")
            raise
        if not math.isfinite(number):
            return Score(None, own.correct, parts, Status.ERROR)
        return Score(number, own.correct, parts, own.status)


@dataclass(frozen=True)
class _WithoutRng:
    """A reward of a group that draws nothing: ``f(group)``."""

    function: Callable[[Group], Any]

    def __call__(self, group: Group, rng: np.random.Generator) -> object:
        return self.function(group)


@dataclass(frozen=True)
class TRL:
    """Calls a reward function written for TRL's ``GRPOTrainer`` (1.16) on one group.

    Prompts and completions are texts, as for a dataset that is not conversational.
    """

    function: Callable[..., Any]

    def __call__(self, group: Group, rng: np.random.Generator) -> object:
        """Lay the group out in columns, one entry per completion."""
        problem, count = group.problem, len(group.rollouts)
        columns: dict[str, Any] = {
            "prompts": [problem.question] * count,
            "completions": [r.completion.text for r in group.rollouts],
            "completion_ids": [r.completion.tokens.tolist() for r in group.rollouts],
            "problem": [problem.question] * count,
            "answer": [problem.golds[0] if problem.golds else None] * count,
            "solution": [problem.golds[0] if problem.golds else None] * count,
            "golds": [list(problem.golds)] * count,
            "problem_id": [problem.id] * count,
            "source": [problem.source] * count,
            "cluster": [problem.cluster] * count,
            "trainer_state": None,
        }
        given = self.function(**_accepted(self.function, columns))
        return asyncio.run(given) if inspect.isawaitable(given) else given


def _accepted(function: Callable[..., Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a function can take: all, where it has ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return dict(columns)
    names = {p.name for p in parameters}
    return {name: column for name, column in columns.items() if name in names}
