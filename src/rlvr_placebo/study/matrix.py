"""A study: the matrix of models × rewards × variants × seeds, read from a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import digest
from rlvr_placebo.rewards.spec import canonical, describe, implied, parse, user_code
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.settings import flat_settings, make_config


@dataclass(frozen=True)
class Study:
    """A name and the runs it consists of, each under the name of its directory."""

    name: str
    description: str
    runs: dict[str, RunConfig]


KEYS = ("name", "description", "models", "rewards", "seeds", "recipe", "settings", "of_model",
        "variants")  # fmt: skip


def load_study(path: Path) -> Study:
    """Read a study file.

    Example::

        name = "demo"
        models = ["pocket/code-prior"]
        rewards = ["ground_truth", "shuffle(ground_truth)"]
        seeds = [1, 2]
        recipe = "pocket"
        [settings]
        steps = 40
        [of_model."pocket/code-prior"]  # settings of this model's runs alone
        template = "boxed"
        [variants.unclipped]
        clip_low = "off"
        clip_high = "off"

    Raises:
        PlaceboError: the file cannot be read, or an entry does not fit; the entry is named.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PlaceboError(f"study {path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise PlaceboError(f"study {path}: not TOML ({error})") from None
    try:
        return make_study(document, path.stem)
    except PlaceboError as error:
        raise PlaceboError(f"study {path}: {error}") from None
    except RecursionError:
        raise PlaceboError(f"study {path}: nested too deeply") from None
    except OverflowError:
        raise PlaceboError(f"study {path}: a number is too large") from None


def make_study(document: Mapping[str, Any], name: str) -> Study:
    """Make a study of the entries of a study file; ``name`` is its name where it has none.

    Raises:
        PlaceboError: an entry does not fit.
    """
    for key in document:
        if key not in KEYS:
            raise PlaceboError(f"unknown entry {key!r}; {suggest(key, KEYS)}")
    name, description = document.get("name", name), document.get("description", "")
    return Study(str(name), str(description), _runs(document))


def _runs(document: Mapping[str, Any]) -> dict[str, RunConfig]:
    """Every cell of the matrix."""
    models, variants = _list(document, "models", (str,)), _table(document, "variants")
    settings = _settings_of_models(document, models)
    recipe = document.get("recipe", "pocket")
    if not isinstance(recipe, str):
        raise PlaceboError("entry 'recipe' must be a name")
    rewards = _list(document, "rewards", (str, dict))
    specs = [parse(r) if isinstance(r, str) else canonical(r) for r in rewards]
    runs = {}
    for model, spec, variant in product(models, specs, variants or ("plain",)):
        changes = _table(variants, variant)
        for key in ("seed", "variant"):
            if key in changes or key in settings[model]:
                raise PlaceboError(f"setting {key!r}: the study itself gives it to each run")
        cell = _merged(_without(settings[model], implied(spec)), changes)
        for seed in _list(document, "seeds", (int,)):
            config = make_config(model, spec, recipe, cell | {"seed": seed, "variant": variant})
            name = run_name(config)
            if name in runs:
                raise PlaceboError(f"run {name} is asked for twice")
            runs[name] = config
    _check_one_measurement(list(runs.values()))
    return runs


def _settings_of_models(
    document: Mapping[str, Any], models: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The settings of all runs, and over them those of each model's own."""
    of_all, of_model = _table(document, "settings"), _table(document, "of_model")
    for model in of_model:
        if model not in models:
            hint = suggest(model, models)
            raise PlaceboError(f"entry of_model: {model!r} is no model of the study; {hint}")
    return {model: _merged(of_all, _table(of_model, model)) for model in models}


def _check_one_measurement(configs: Sequence[RunConfig]) -> None:
    """Refuse variants whose numbers could not be compared, before they are made."""
    first = asdict(configs[0].evaluation)
    for config in configs:
        for key, value in asdict(config.evaluation).items():
            if key not in ("benchmarks", "every") and value != first[key]:
                raise PlaceboError(
                    f"variants differ in evaluation.{key}: their numbers could not be compared"
                )


def _merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of all runs with those of a variant over them, by full key."""
    return flat_settings(settings) | flat_settings(changes)


def _without(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of all runs but those that a reward brings itself (``ttrl``: its pool)."""
    return {key: value for key, value in flat_settings(settings).items() if key not in own}


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An entry that must be a table; empty where it is missing."""
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise PlaceboError(f"entry {key!r} must be a table")
    return value


_NAMES: Mapping[type, str] = {str: "texts", int: "whole numbers", dict: "tables"}


def _list(document: Mapping[str, Any], key: str, kinds: tuple[type, ...]) -> list[Any]:
    """An entry that must be a list, not empty, of values of certain kinds, each once."""
    values = document.get(key)
    names = " or ".join(_NAMES[kind] for kind in kinds)
    if not isinstance(values, list) or not values or any(type(v) not in kinds for v in values):
        raise PlaceboError(f"entry {key!r} must be a list of {names}, not empty")
    return values


def run_name(config: RunConfig) -> str:
    """Name of a run's directory: readable, and unique by its configuration and a user's code."""
    parts = (config.model.split("/")[-1], describe(config.reward), config.variant)
    readable = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", p).strip("_") for p in parts)
    content = [config.as_dict(), user_code(config.reward)]
    return f"{readable[:80]}-s{config.seed}-{digest(content)[:8]}"
