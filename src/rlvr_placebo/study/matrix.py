"""A study: the matrix of models × rewards × variants × seeds, read from a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.rundir import digest
from rlvr_placebo.rewards.spec import describe, parse
from rlvr_placebo.train.config import RunConfig, make_config


@dataclass(frozen=True)
class Study:
    """A name and the runs it consists of, each under the name of its directory."""

    name: str
    runs: dict[str, RunConfig]


KEYS = ("name", "description", "models", "rewards", "seeds", "recipe", "settings", "variants")


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
        [variants.unclipped]
        clip_low = "off"
        clip_high = "off"

    Raises:
        PlaceboError: the file cannot be read, or an entry does not fit; the entry is named.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise PlaceboError(f"study {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise PlaceboError(f"study {path}: not TOML ({error})") from None
    for key in document:
        if key not in KEYS:
            raise PlaceboError(f"study {path}: unknown entry {key!r}; {suggest(key, KEYS)}")
    try:
        return Study(str(document.get("name", path.stem)), _runs(document))
    except PlaceboError as error:
        raise PlaceboError(f"study {path}: {error}") from None


def _runs(document: Mapping[str, Any]) -> dict[str, RunConfig]:
    """Every cell of the matrix."""
    variants = document.get("variants", {"plain": {}})
    runs = {}
    for model in _list(document, "models", str):
        for reward in _list(document, "rewards", str):
            for variant, changes in variants.items():
                for seed in _list(document, "seeds", int):
                    settings = {**document.get("settings", {}), **changes}
                    settings |= {"seed": seed, "variant": variant}
                    recipe = document.get("recipe", "pocket")
                    config = make_config(model, parse(reward), recipe, settings)
                    runs[run_name(config)] = config
    return runs


def _list(document: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """An entry that must be a list of one kind, and not empty."""
    values = document.get(key)
    if not isinstance(values, list) or not values or not all(type(v) is kind for v in values):
        raise PlaceboError(f"entry {key!r} must be a list of {kind.__name__}, not empty")
    return values


def run_name(config: RunConfig) -> str:
    """Name of a run's directory: readable, and unique by the hash of its configuration."""
    parts = (config.model.split("/")[-1], describe(config.reward), config.variant)
    readable = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", p).strip("_") for p in parts)
    return f"{readable}-s{config.seed}-{digest(config.as_dict())[:8]}"
