"""The configuration of a run: frozen, validated, hashed; every field has its sentence."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.evaluate.contract import COLDEST, HOTTEST, EvaluationConfig, check_evaluation
from rlvr_placebo.labels.votes import LabelsConfig
from rlvr_placebo.learner.advantages import ADVANTAGES
from rlvr_placebo.learner.learner import OPTIMIZERS, OptimizerConfig
from rlvr_placebo.learner.losses import AGGREGATIONS, RATIOS, LossConfig
from rlvr_placebo.rewards.registry import BENCHMARK
from rlvr_placebo.rewards.spec import Spec, build, canonical, describe, implied, needs_votes
from rlvr_placebo.text.templates import get_template


@dataclass(frozen=True)
class RolloutConfig:
    """What is generated in one step. The defaults are the paper's."""

    problems: int = 64
    """Problems per step."""
    samples: int = 16
    """Completions per problem: the group size G."""
    temperature: float = 1.0
    """Of sampling; the learner scores completions at the same one."""
    max_tokens: int = 3072
    """The longest completion."""
    max_rows: int = 256
    """Completions generated at once; changes memory and speed, not what is sampled."""


@dataclass(frozen=True)
class RunConfig:
    """One run: model × reward × variant × seed."""

    model: str
    """An embedded family (``pocket/code-prior``), a checkpoint's folder, or a hub id."""
    reward: Spec
    """What trains, as data; see ``placebo rewards``."""
    seed: int = 0
    """Of problem order, sampling, rewards and minibatches."""
    steps: int = 150
    """Rollout batches, each with its updates."""
    variant: str = "plain"
    """A name for what was changed, shown in reports."""
    pool: str = "pocket-train"
    """Training problems: a set by name, a .jsonl file, or `benchmark`: the test problems (TTRL)."""
    pool_size: int = 0
    """Train on the first so many problems of the pool only; 0: on all (one-shot is 1)."""
    template: str = "plain"
    """What surrounds a question, in training and evaluation."""
    checkpoint_every: int = 0
    """Keep a checkpoint every so many steps; 0: the final one only."""
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    """Votes of the untrained model on the training problems."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """What is generated in one step."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Which objective is optimised."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the loss becomes updates."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What is measured before, during and after."""

    def as_dict(self) -> dict[str, Any]:
        """Nested dicts and lists, ready for JSON."""
        return {**_plain(dataclasses.asdict(self)), "reward": self.reward}


# Settings that belong together, by name. `paper` is arXiv 2506.10947's; `pocket` suits the embedded
# families (its choice is told in LOG.md).
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "paper": {"evaluation.max_tokens": 3072, "evaluation.samples": 8},
    "pocket": {
        "steps": 60,
        "rollout.problems": 16,
        "rollout.max_tokens": 72,
        "optimizer.learning_rate": 1e-4,
    },
}


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
    config = RunConfig(model=model, reward=canonical(reward))
    chosen = flat_settings(settings or {})
    own = implied(config.reward)
    for key, value in {**RECIPES[recipe], **own, **chosen}.items():
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
    for key, value in _flatten(settings):
        full = full_key(key)
        if full in flat:
            raise PlaceboError(f"setting {full} is given twice")
        flat[full] = value
    return flat


def from_dict(document: Mapping[str, Any]) -> RunConfig:
    """Read a configuration back from :meth:`RunConfig.as_dict`."""
    flat = dict(_flatten({k: v for k, v in document.items() if k not in ("model", "reward")}))
    return make_config(document["model"], document["reward"], "paper", flat)


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


def _read(key: str, text: str) -> object:
    """A value from the command line, by the type of its key."""
    kind = keys()[key]
    try:
        if _optional(kind) and text.lower() in ("off", "none"):
            return None
        base = _base(kind)
        if typing.get_origin(base) is tuple:
            item = typing.get_args(base)[0]
            return tuple(item(part.strip()) for part in text.split(",") if part.strip())
        return base(text)
    except ValueError:
        raise PlaceboError(f"setting {key}={text}: {_kind_name(kind)} is wanted") from None


def _optional(kind: object) -> bool:
    return isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind)


def _base(kind: Any) -> Any:  # noqa: ANN401 (a type, or a generic alias)
    return typing.get_args(kind)[0] if _optional(kind) else kind


def _kind_name(kind: object) -> str:
    names = {int: "a whole number", float: "a number", str: "a text"}
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
        return float(value)
    if isinstance(value, str) and value.lower() == "off" and _optional(kind):
        return None
    if not isinstance(value, base) or isinstance(value, bool):
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


def _flatten(document: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def check(config: RunConfig) -> None:
    """Refuse values that make no sense, before anything is loaded.

    Raises:
        PlaceboError: the first offending key, what it holds and what it may hold.
    """
    build(config.reward)
    get_template(config.template)
    values = dict(_flatten(config.as_dict()))
    for key, allowed in _CHOICES.items():
        if values[key] not in allowed:
            hint = suggest(str(values[key]), allowed)
            raise PlaceboError(f"setting {key}: unknown value {values[key]!r}; {hint}")
    for keys_, low, high in _RANGES:
        for key in keys_:
            value = values[key]
            if value is not None and not low <= value <= high:
                raise PlaceboError(f"setting {key}: {value:g} must lie in [{low:g}, {high:g}]")
    if config.optimizer.minibatches > config.rollout.problems * config.rollout.samples:
        raise PlaceboError("setting optimizer.minibatches: more than completions in a step")
    check_evaluation(config.evaluation)
    _check_labels(config)


def _check_labels(config: RunConfig) -> None:
    """Labels are of the training pool, and a reward that pays for them needs them."""
    labels = config.labels
    if labels.samples and labels.folder:
        raise PlaceboError("setting labels.folder: has its own samples; leave labels.samples out")
    if not needs_votes(config.reward):
        return
    if config.pool == BENCHMARK:
        raise PlaceboError(
            f"reward {describe(config.reward)}: labels are of training problems; pool=benchmark "
            "has none"
        )
    if not labels.wanted:
        raise PlaceboError(
            f"reward {describe(config.reward)}: needs labels of the untrained model; add "
            "labels.samples=16 (or 64, the paper's), or labels.folder"
        )


_CHOICES: Mapping[str, Iterable[str]] = {
    "loss.advantage": tuple(ADVANTAGES),
    "loss.aggregation": AGGREGATIONS,
    "loss.ratio": RATIOS,
    "optimizer.name": OPTIMIZERS,
}
_LARGE = 1e9
_RANGES: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("seed", "labels.seed"), 0, 2**63 - 1),
    (("steps", "checkpoint_every", "pool_size", "labels.samples"), 0, _LARGE),
    (("rollout.problems", "rollout.max_tokens", "rollout.max_rows"), 1, _LARGE),
    (("rollout.samples",), 2, _LARGE),
    (("rollout.temperature", "labels.temperature"), COLDEST, HOTTEST),
    (("loss.clip_low",), 0, 1),
    (("loss.clip_high", "loss.kl", "optimizer.weight_decay"), 0, _LARGE),
    (("optimizer.learning_rate", "optimizer.max_grad_norm"), 0, _LARGE),
    (("optimizer.beta1", "optimizer.beta2"), 0, 0.999999),
    (("optimizer.minibatches", "optimizer.epochs", "optimizer.micro_tokens"), 1, _LARGE),
)
