"""Settings by dotted key: from a recipe, a study's table or the command line to a configuration."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.rewards.spec import Spec, canonical, describe, implied
from rlvr_placebo.train.config import RECIPES, RunConfig, check, flatten


def make_config(
    model: str, reward: Spec, recipe: str = "pocket", settings: Mapping[str, Any] | None = None
) -> RunConfig:
    """Make and check a configuration.

    Args:
        model: see :class:`RunConfig`.
        reward: a specification, as data.
        recipe: a key of :data:`RECIPES`.
        settings: changes by dotted key, e.g. ``{"loss.clip_high": None, "steps": 20}``; a last part
            that is unique (``clip_high``) will do.

    Raises:
        PlaceboError: an unknown key or recipe, or a value that does not fit.
    """
    if recipe not in RECIPES:
        raise PlaceboError(f"unknown recipe {recipe!r}; {suggest(recipe, RECIPES)}")
    return _configured(model, reward, RECIPES[recipe], settings or {})


def _configured(
    model: str, reward: Spec, recipe: Mapping[str, Any], settings: Mapping[str, Any]
) -> RunConfig:
    config = RunConfig(model=model, reward=canonical(reward))
    chosen = flat_settings(settings)
    own = implied(config.reward)
    for key, value in {**recipe, **own, **chosen}.items():
        config = _replace(config, key.split("."), value)
        if key in own and value != own[key]:
            raise PlaceboError(
                f"reward {describe(config.reward)}: sets {key}={own[key]} itself; leave out "
                f"{key}={value}"
            )
    check(config)
    return config


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by full dotted key, from nested tables or short keys.

    Raises:
        PlaceboError: a key is unknown, ambiguous, or given twice in two spellings.
    """
    flat: dict[str, Any] = {}
    for key, value in flatten(settings):
        full = full_key(key)
        if full in flat:
            raise PlaceboError(f"setting {full} is given twice")
        flat[full] = value
    return flat


def from_dict(document: Mapping[str, Any]) -> RunConfig:
    """Read a configuration back from :meth:`RunConfig.as_dict`."""
    flat = dict(flatten({k: v for k, v in document.items() if k not in ("model", "reward")}))
    return _configured(document["model"], document["reward"], {}, flat)


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs as they stand behind ``--set``.

    Numbers are written as numbers, ``off`` is None, lists are separated by commas.

    Raises:
        PlaceboError: a pair without ``=``, an unknown key, or a value of the wrong kind.
    """
    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise PlaceboError(f"--set {pair}: write key=value")
        full = full_key(key.strip())
        if full in settings:
            raise PlaceboError(f"setting {full} is given twice")
        settings[full] = _read(full, text.strip())
    return settings


def keys() -> dict[str, Any]:
    """Every dotted key with its type, ``model`` and ``reward`` apart."""
    return dict(_typed_fields(RunConfig, ""))


def full_key(key: str) -> str:
    """Complete a key: ``clip_high`` is ``loss.clip_high``.

    Raises:
        PlaceboError: no key, or more than one, ends like this.
    """
    known = keys()
    if key in known:
        return key
    matches = [k for k in known if k.rsplit(".", 1)[-1] == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PlaceboError(f"setting {key!r} is ambiguous: {' or '.join(matches)}")
    leaves = {k.rsplit(".", 1)[-1]: k for k in known}
    hint = suggest(key, known) if "." in key else suggest(key, leaves)
    raise PlaceboError(f"unknown setting {key!r}; {hint}")


def _typed_fields(record: Any, prefix: str) -> Iterable[tuple[str, Any]]:  # noqa: ANN401
    hints = typing.get_type_hints(record)
    for f in dataclasses.fields(record):
        if f.name in ("model", "reward"):
            continue
        kind = hints[f.name]
        if dataclasses.is_dataclass(kind):
            yield from _typed_fields(kind, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", kind


TRUTH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def _read(key: str, text: str) -> object:
    """A value from the command line, by the type of its key."""
    kind = keys()[key]
    try:
        if _optional(kind) and text.lower() in ("off", "none"):
            return None
        base = _base(kind)
        if base is bool:
            return TRUTH[text.lower()]
        if typing.get_origin(base) is tuple:
            item = typing.get_args(base)[0]
            return tuple(item(part.strip()) for part in text.split(",") if part.strip())
        return base(text)
    except (ValueError, KeyError):
        raise PlaceboError(f"setting {key}={text}: {_kind_name(kind)} is wanted") from None


def _optional(kind: object) -> bool:
    return isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind)


def _base(kind: Any) -> Any:  # noqa: ANN401 (a type, or a generic alias)
    return typing.get_args(kind)[0] if _optional(kind) else kind


def _kind_name(kind: object) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    name = names.get(_base(kind), "a list separated by commas")
    return f"{name} or off" if _optional(kind) else name


def _fit(key: str, value: object) -> object:
    """Check a value against the type of its key; whole numbers are welcome as floats."""
    kind = keys()[key]
    base = _base(kind)
    if value is None and _optional(kind):
        return None
    if typing.get_origin(base) is tuple:
        return _fit_list(key, value, typing.get_args(base)[0])
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise PlaceboError(f"setting {key}: the number is too large") from None
    if isinstance(value, str) and value.lower() == "off" and _optional(kind):
        return None
    if not isinstance(value, base) or isinstance(value, bool) is not (base is bool):
        raise PlaceboError(f"setting {key}: {value!r} given, {_kind_name(kind)} is wanted")
    return value


def _fit_list(key: str, value: object, item: type) -> tuple[object, ...]:
    """Check a list whose items are all texts, or all numbers."""
    allowed = (int, float) if item is float else (item,)
    if not isinstance(value, list | tuple) or not all(type(v) in allowed for v in value):
        name = "numbers" if item is float else "texts"
        raise PlaceboError(f"setting {key}: {value!r} given, a list of {name} is wanted")
    return tuple(item(v) for v in value)


def _replace(config: Any, path: list[str], value: object, done: str = "") -> Any:  # noqa: ANN401
    """Copy nested frozen records with one field changed."""
    name = path[0]
    if len(path) == 1:
        return dataclasses.replace(config, **{name: _fit(done + name, value)})
    inner = _replace(getattr(config, name), path[1:], value, f"{done}{name}.")
    return dataclasses.replace(config, **{name: inner})
