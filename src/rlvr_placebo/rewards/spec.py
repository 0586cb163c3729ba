"""Rewards as data: ``"random(0.5)"`` on the command line, a JSON or TOML file for compositions.

A specification is a name (``"ground_truth"``) or one name with its arguments
(``{"random": [0.5]}``, ``{"all": ["ground_truth", "no_python"]}``). Arguments are numbers, other
specifications, or for ``weighted_sum`` pairs ``[weight, specification]``.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.rewards.basic import format_reward, ground_truth, no_python, python
from rlvr_placebo.rewards.compose import All, Not, WeightedSum
from rlvr_placebo.rewards.placebo import Constant, Random, Shuffle
from rlvr_placebo.rewards.protocol import PerCompletion, Reward

LONGEST = 1000
Spec = str | dict[str, list[Any]]


@dataclass(frozen=True)
class Entry:
    """One reward by name: what it says, how it is written, and how it is made."""

    usage: str
    summary: str
    build: Callable[[list[Any]], Reward]
    defaults: tuple[float, ...] = ()


def _number(args: list[Any], usage: str) -> float:
    """The single number among the arguments."""
    if len(args) != 1 or isinstance(args[0], bool) or not isinstance(args[0], int | float):
        raise PlaceboError(f"reward {usage}: takes one number")
    if not math.isfinite(args[0]):
        raise PlaceboError(f"reward {usage}: {args[0]} is not a finite number")
    return float(args[0])


def _rewards(args: list[Any], usage: str, least: int, most: int | None = None) -> list[Reward]:
    """Every argument as a reward; the number of them is checked."""
    if len(args) < least or (most is not None and len(args) > most):
        wanted = "one reward" if most == 1 else f"{least} or more rewards"
        raise PlaceboError(f"reward {usage}: takes {wanted}")
    return [build(arg) for arg in args]


def _weighted(args: list[Any]) -> Reward:
    """Pairs of weight and reward."""
    for arg in args or [None]:
        if not (isinstance(arg, list | tuple) and len(arg) == 2):
            raise PlaceboError("reward weighted_sum: takes pairs [weight, reward]")
    weights = tuple(_number([arg[0]], "weighted_sum") for arg in args)
    return WeightedSum(weights, tuple(build(arg[1]) for arg in args))


def _plain(name: str, function: Callable[..., float | None]) -> Entry:
    """An entry without arguments; its summary is the first line of the function's docstring."""

    def make(args: list[Any]) -> Reward:
        if args:
            raise PlaceboError(f"reward {name}: takes no argument")
        return PerCompletion(function)

    return Entry(name, (function.__doc__ or "").splitlines()[0], make)


REWARDS: Mapping[str, Entry] = {
    "ground_truth": _plain("ground_truth", ground_truth),
    "format": _plain("format", format_reward),
    "python": _plain("python", python),
    "no_python": _plain("no_python", no_python),
    "random": Entry(
        "random(γ=0.5)",
        "1 with probability γ, whatever the completion.",
        lambda args: Random(_number(args, "random(γ)")),
        (0.5,),
    ),
    "shuffle": Entry(
        "shuffle(REWARD)",
        "The scores of REWARD permuted within each group: its true placebo.",
        lambda args: Shuffle(_rewards(args, "shuffle(REWARD)", 1, 1)[0]),
    ),
    "constant": Entry(
        "constant(c=1)",
        "c for every completion: must teach nothing.",
        lambda args: Constant(_number(args, "constant(c)")),
        (1.0,),
    ),
    "all": Entry(
        '{"all": [REWARD, …]}',
        "The smallest of several rewards (and). In a file.",
        lambda args: All(tuple(_rewards(args, "all", 2))),
    ),
    "not": Entry(
        '{"not": REWARD}',
        "1 − REWARD. In a file.",
        lambda args: Not(_rewards(args, "not", 1, 1)[0]),
    ),
    "weighted_sum": Entry(
        '{"weighted_sum": [[w, REWARD], …]}',
        "Σ w · REWARD. In a file.",
        _weighted,
    ),
}


def build(spec: object) -> Reward:
    """Make the reward that a specification describes.

    Raises:
        PlaceboError: a name is unknown, or its arguments do not fit.
    """
    name, args = _split(spec)
    entry = _entry(name)
    return entry.build(args or list(entry.defaults))


def _entry(name: str) -> Entry:
    """Look a reward up by name."""
    if name not in REWARDS:
        raise PlaceboError(f"unknown reward {name!r}; {suggest(name, REWARDS)}")
    return REWARDS[name]


def _split(spec: object) -> tuple[str, list[Any]]:
    """Name and arguments of a specification."""
    if isinstance(spec, str):
        return spec, []
    if isinstance(spec, Mapping) and len(spec) == 1:
        ((name, args),) = spec.items()
        return str(name), list(args) if isinstance(args, list | tuple) else [args]
    raise PlaceboError(f"reward {spec!r}: write a name or one {{name: arguments}}")


def parse(text: str) -> Spec:
    """Read what stands behind ``--reward``: a name with arguments, or the path of a file.

    Example: ``parse("shuffle(random(0.7))")`` is ``{"shuffle": [{"random": [0.7]}]}``.

    Raises:
        PlaceboError: the text is neither, or the reward it names cannot be made.
    """
    path = Path(text)
    try:
        spec = _read_file(path) if path.suffix in (".json", ".toml") else _parse_call(text.strip())
        build(spec)
    except RecursionError:
        raise PlaceboError(f"reward {text[:40]!r}: nested too deeply") from None
    except OverflowError:
        raise PlaceboError(f"reward {text[:40]!r}: a number is too large") from None
    if len(describe(spec)) > LONGEST:
        raise PlaceboError(
            f"reward {text[:40]!r}: longer than {LONGEST} characters when written out"
        )
    return spec


def _read_file(path: Path) -> Spec:
    """Read a specification from a JSON or TOML file (in TOML under the key ``reward``)."""
    try:
        raw = path.read_text(encoding="utf-8-sig")
        data = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw)
    except OSError as error:
        raise PlaceboError(f"reward file {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise PlaceboError(f"reward file {path}: {error}") from None
    if isinstance(data, dict) and set(data) == {"reward"}:
        data = data["reward"]
    return canonical(data)


def canonical(spec: object) -> Spec:
    """One way of writing a specification, so that equal rewards have equal hashes."""
    name, args = _split(spec)
    args = args or list(_entry(name).defaults)
    if not args:
        return name
    return {name: [_canonical_argument(arg) for arg in args]}


def _canonical_argument(arg: object) -> object:
    if isinstance(arg, list | tuple):
        return [_canonical_argument(a) for a in arg]
    if isinstance(arg, int | float) and not isinstance(arg, bool):
        return float(arg)
    return canonical(arg)


def _parse_call(text: str) -> Spec:
    """Parse ``name`` or ``name(argument, …)``."""
    match = re.fullmatch(r"(\w+)\s*(?:\((.*)\))?", text, re.DOTALL)
    if not match:
        raise PlaceboError(f"reward {text!r}: write a name, a name(argument) or a file's path")
    name, inside = match[1], match[2]
    arguments = [_parse_argument(a.strip()) for a in _split_arguments(inside or "") if a.strip()]
    return canonical({name: arguments})


def _split_arguments(text: str) -> list[str]:
    """Split at the commas that stand outside parentheses."""
    pieces, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def _parse_argument(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return _parse_call(text)


def describe(spec: object) -> str:
    """A specification as it would be written on the command line, e.g. ``random(0.5)``."""
    if isinstance(spec, int | float):
        return f"{spec:g}"
    if isinstance(spec, list):
        return ":".join(describe(s) for s in spec)
    name, args = _split(spec)
    return f"{name}({','.join(describe(a) for a in args)})" if args else name
