"""A user's own reward: a Python function, in our signature or in TRL's.

``file.py:function`` or ``module:function`` names it. By its parameters it is

- ``f(rollout) -> float | None``: a reward of one completion;
- ``f(group, rng) -> list``: one number (or None, or ``Score``) per rollout, where ``rng`` is the
  only source of randomness;
- TRL's ``f(prompts, completions, **kwargs) -> list``, with ``completion_ids`` and the problem's
  columns (``answer``, ``solution``, ``golds``, ``problem``, ``problem_id``, ``source``,
  ``cluster``, ``difficulty`` and whatever else its file holds); it may be ``async``. It is called
  once per group, not once per batch; ``trainer_state`` is None, and ``log_extra`` and
  ``log_metric`` do nothing.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Group, Problem, Score, Status
from rlvr_placebo.rewards.protocol import Reward, score

_REFERENCE = re.compile(r"(?P<where>[^:(),\n]+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


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
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise PlaceboError(f"reward {reference}: its parameters cannot be read") from None
    names = list(parameters)
    needed = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    if names[:1] == ["rollout"] and needed == ["rollout"]:
        return Guarded(reference, _Each(function))
    if names[:1] == ["group"] and len(needed) <= 2:
        return Guarded(reference, function if len(needed) == 2 else _WithoutRng(function))
    if "completions" in names:
        return Guarded(reference, TRL(function, tuple(needed)))
    raise PlaceboError(
        f"reward {reference}: takes ({', '.join(names)}); write f(rollout), f(group, rng), or "
        "f(prompts, completions, **kwargs) as for TRL"
    )


@dataclass(frozen=True)
class _Each:
    """A reward of one completion, called for each of a group."""

    function: Callable[[Any], Any]

    def __call__(self, group: Group, rng: np.random.Generator) -> object:
        return [self.function(rollout) for rollout in group.rollouts]


def code_digest(reference: str) -> str:
    """Hash of the file that holds a user's function and of what it imports from its own folder.

    Raises:
        PlaceboError: there is no such file or module.
    """
    own = getattr(_module(reference), "__file__", None)
    if not own:
        raise PlaceboError(f"reward {reference}: its module is not a file")
    folder = Path(own).resolve().parent
    files = {Path(own).resolve()}
    for module in list(sys.modules.values()):
        path = Path(getattr(module, "__file__", None) or "")
        if path.is_absolute() and path.suffix == ".py" and path.is_file():
            files |= {path.resolve()} if folder in path.resolve().parents else set()
    state = hashlib.sha256()
    for path in sorted(files):
        state.update(path.relative_to(folder).as_posix().encode())
        state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()[:16]


def _function(reference: str) -> Callable[..., Any]:
    match = _REFERENCE.fullmatch(reference)
    assert match is not None
    try:
        function = getattr(_module(reference), match["name"], None)
    except PlaceboError:
        raise
    except Exception as error:  # noqa: BLE001 (a user's code may fail in any way)
        raise PlaceboError(f"reward {reference}: {_told(error)}") from None
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
    file = Path(where) if where.endswith(".py") else None
    _reach(Path.cwd() if file is None else file.resolve().parent)
    try:
        return importlib.import_module(where) if file is None else _from_file(file)
    except PlaceboError:
        raise
    except ModuleNotFoundError as error:
        if error.name and where.startswith(error.name):
            raise PlaceboError(f"reward {reference}: there is no module {where}") from None
        raise PlaceboError(f"reward {reference}: {_told(error)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a user's code may fail in any way)
        raise PlaceboError(f"reward {reference}: its file fails: {_told(error)}") from None


def _reach(folder: Path) -> None:
    """Let a user's code import what lies beside it; whatever was importable before comes first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


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
    said = " ".join(_text(error).split())
    return f"{type(error).__name__}: {said}{where}" if said else f"{type(error).__name__}{where}"


def _text(value: object) -> str:
    """What a value says of itself, cut short; its own code may fail at that."""
    try:
        return str(value)[:200]
    except Exception:  # noqa: BLE001 (a user's code may fail in any way)
        return ""


@dataclass(frozen=True)
class Guarded:
    """Turns what a user's function may do wrong into one line, or into a counted unknown."""

    reference: str
    inner: Callable[[Group, np.random.Generator], Any]

    def __call__(self, group: Group, rng: np.random.Generator) -> list[Score]:
        """Call the function and check what it gives."""
        try:
            raw = self.inner(group, rng)
            given = _as_list(raw)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (a user's code may fail in any way)
            raise PlaceboError(
                f"reward {self.reference} failed on problem {group.problem.id}: {_told(error)}"
            ) from None
        if given is None:
            self._refuse(f"gave {type(raw).__name__}, a list of numbers is wanted")
        if len(given) != len(group.rollouts):
            self._refuse(f"gave {len(given)} rewards for {len(group.rollouts)} completions")
        pairs = zip(group.rollouts, given, strict=True)
        return [self._fitted(score(rollout, None), value) for rollout, value in pairs]

    def _refuse(self, what: str) -> NoReturn:
        raise PlaceboError(f"reward {self.reference} {what}")

    def _fitted(self, own: Score, value: object) -> Score:
        """A score of what the function gave; the verifier's findings stay ours."""
        parts: dict[str, float] = {}
        if isinstance(value, Score):
            parts = self._parts(value.parts)
            value = value.reward
        if value is None:
            return Score(None, own.correct, parts, own.status)
        number = self._number(value)
        if not math.isfinite(number):
            return Score(None, own.correct, parts, Status.ERROR)
        return Score(number, own.correct, parts, own.status)

    def _parts(self, parts: object) -> dict[str, float]:
        if not isinstance(parts, Mapping):
            self._refuse("gave a Score whose parts are no mapping of names to numbers")
        return {str(name): self._number(value) for name, value in parts.items()}

    def _number(self, value: object) -> float:
        """A number, also where it comes as a NumPy or torch scalar; too large is infinite."""
        try:
            if not isinstance(value, str | bytes):
                return float(value)  # ty: ignore[invalid-argument-type]
        except OverflowError:
            return math.inf
        except Exception:  # noqa: BLE001 (told below)
            pass
        shown = " ".join(_text(value).split())[:40]
        self._refuse(f"gave {shown!r} for a completion, a number or None is wanted")


def _as_list(given: object) -> list[Any] | None:
    """What a function gave, as a list; None where it has no order or no length."""
    if isinstance(given, str | bytes | Mapping | set | frozenset | Score):
        return None
    if isinstance(given, list | tuple):
        return list(given)
    if getattr(given, "ndim", None) == 1 or isinstance(given, Sequence):
        return list(given)  # ty: ignore[invalid-argument-type]
    return None


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
    needed: tuple[str, ...]

    def __call__(self, group: Group, rng: np.random.Generator) -> object:
        """Lay the group out in columns, one entry per completion."""
        columns = columns_of(group)
        if missing := self.missing(columns):
            raise LookupError(
                f"asks for {', '.join(missing)}; there are {', '.join(sorted(columns))}"
            )
        given = self.function(**_accepted(self.function, columns))
        return asyncio.run(given) if inspect.isawaitable(given) else given

    def missing(self, columns: Mapping[str, Any]) -> list[str]:
        """What the function asks for and does not find."""
        return [name for name in self.needed if name not in columns]


def missing_columns(reference: str, problem: Problem) -> list[str]:
    """What a TRL reward asks for and the problems of a pool do not have."""
    reward = load(reference)
    inner = reward.inner if isinstance(reward, Guarded) else None
    if not isinstance(inner, TRL):
        return []
    return inner.missing(columns_of(Group(problem, (), ())))


def columns_of(group: Group) -> dict[str, Any]:
    """What a TRL reward may ask for, for one group."""
    problem, count = group.problem, len(group.rollouts)
    of_problem: dict[str, Any] = {
        **problem.extra,
        "prompts": problem.question,
        "problem": problem.question,
        "answer": problem.golds[0] if problem.golds else None,
        "solution": problem.golds[0] if problem.golds else None,
        "golds": list(problem.golds),
        "problem_id": problem.id,
        "source": problem.source,
        "cluster": problem.cluster,
        "difficulty": problem.difficulty,
    }
    return {
        **{name: [value] * count for name, value in of_problem.items()},
        "completions": [r.completion.text for r in group.rollouts],
        "completion_ids": [r.completion.tokens.tolist() for r in group.rollouts],
        "trainer_state": None,
        "log_extra": _ignore,
        "log_metric": _ignore,
    }


def _ignore(*args: object, **kwargs: object) -> None:
    """Stands for TRL's logging functions: a reward is pure here."""


def _accepted(function: Callable[..., Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a function can take: all, where it has ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return dict(columns)
    names = {p.name for p in parameters}
    return {name: column for name, column in columns.items() if name in names}
