"""Rewards as data: ``"random(0.5)"`` on the command line, a JSON or TOML file for compositions.

A specification is a name (``"ground_truth"``) or one name with its arguments
(``{"random": [0.5]}``, ``{"all": ["ground_truth", "no_python"]}``). Arguments are numbers, other
specifications, or for ``weighted_sum`` pairs ``[weight, specification]``. A name with a colon
(``mine.py:helpful``) is a user's own function.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.rewards.protocol import Reward
from rlvr_placebo.rewards.registry import NUMBER, PAIRS, REWARDS_, Entry, find
from rlvr_placebo.rewards.user import code_digest, is_reference

LONGEST = 1000
Spec = str | dict[str, list[Any]]


def build(spec: object) -> Reward:
    """Make the reward that a specification describes.

    Raises:
        PlaceboError: a name is unknown, or its arguments do not fit.
    """
    name, args = _split(spec)
    entry = find(name)
    return entry.make(*_fitted(entry, args or list(entry.defaults)))


def _fitted(entry: Entry, args: list[Any]) -> list[Any]:
    """The arguments as the entry takes them: numbers, rewards, pairs of weight and reward."""
    usage, takes = entry.usage, entry.takes
    if takes == (REWARDS_,):
        if len(args) < 2:
            raise PlaceboError(f"reward {usage}: takes 2 or more rewards")
        return [build(arg) for arg in args]
    if takes == (PAIRS,):
        if not args or not all(isinstance(a, list | tuple) and len(a) == 2 for a in args):
            raise PlaceboError(f"reward {usage}: takes pairs [weight, reward]")
        return [(_number(weight, usage, takes), build(part)) for weight, part in args]
    if len(args) != len(takes):
        raise PlaceboError(f"reward {usage}: takes {_wanted(takes)}")
    return [_argument(arg, kind, entry) for arg, kind in zip(args, takes, strict=True)]


def _argument(arg: object, kind: str, entry: Entry) -> float | Reward:
    if kind == NUMBER:
        return _number(arg, entry.usage, entry.takes)
    if isinstance(arg, int | float):
        raise PlaceboError(f"reward {entry.usage}: takes {_wanted(entry.takes)}")
    return build(arg)


def _wanted(takes: tuple[str, ...]) -> str:
    return ", ".join(f"one {kind}" for kind in takes) or "no argument"


def _number(arg: object, usage: str, takes: tuple[str, ...]) -> float:
    if isinstance(arg, bool) or not isinstance(arg, int | float):
        raise PlaceboError(f"reward {usage}: takes {_wanted(takes)}")
    if not math.isfinite(arg):
        raise PlaceboError(f"reward {usage}: {arg} is not a finite number")
    return float(arg)


def parts_of(spec: object) -> list[tuple[str, list[Any]]]:
    """Name and arguments of a reward and of every reward it is composed of."""
    if isinstance(spec, list | tuple):
        return [part for item in spec for part in parts_of(item)]
    if isinstance(spec, int | float):
        return []
    name, args = _split(spec)
    return [(name, args or list(find(name).defaults)), *parts_of(args)]


def names_in(spec: object) -> set[str]:
    """Every reward that a specification names, nested ones too."""
    return {name for name, _ in parts_of(spec)}


def implied(spec: object) -> dict[str, Any]:
    """Settings of a run that belong to a reward, or to one it is composed of.

    Raises:
        PlaceboError: two of its parts ask for different ones.
    """
    settings: dict[str, Any] = {}
    for name in sorted(names_in(spec)):
        for key, value in find(name).implies.items():
            if settings.setdefault(key, value) != value:
                raise PlaceboError(f"reward {describe(spec)}: its parts disagree on {key}")
    return settings


def needs_votes(spec: object) -> int:
    """How many wrong answers a problem must have for a reward's labels; 0 without labels."""
    return max(find(name).votes(*args) for name, args in parts_of(spec))


def informed(spec: object) -> bool:
    """Whether a reward uses information from outside the model; what is shuffled no longer does."""
    if isinstance(spec, list | tuple):
        return any(map(informed, spec))
    if isinstance(spec, int | float):
        return False
    name, args = _split(spec)
    return name != "shuffle" and (find(name).informed or informed(args))


def user_code(spec: object) -> dict[str, str]:
    """The user's functions in a reward, each with the hash of the file that holds it."""
    return {name: code_digest(name) for name in sorted(names_in(spec)) if is_reference(name)}


def _split(spec: object) -> tuple[str, list[Any]]:
    """Name and arguments of a specification."""
    if isinstance(spec, str):  # within data, a name may be written with its arguments as well
        return (spec, []) if "(" not in spec else _split(_parse_call(spec.strip()))
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
    args = args or list(find(name).defaults)
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
    if is_reference(text):
        return canonical(text)
    match = re.fullmatch(r"(\w+)\s*(?:\((.*)\))?", text, re.DOTALL)
    if not match:
        raise PlaceboError(
            f"reward {text!r}: write a name, a name(argument), file.py:function or the path of a "
            ".json or .toml file"
        )
    name, inside = match[1], match[2]
    pieces = _split_arguments(inside) if inside and inside.strip() else []
    if not all(map(str.strip, pieces)):
        raise PlaceboError(f"reward {text!r}: an argument is missing between two commas")
    arguments = [_parse_argument(piece.strip()) for piece in pieces]
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
        return f"{spec:g}" if float(f"{spec:g}") == spec else repr(float(spec))
    if isinstance(spec, list):
        return ":".join(describe(s) for s in spec)
    name, args = _split(spec)
    return f"{name}({','.join(describe(a) for a in args)})" if args else name
