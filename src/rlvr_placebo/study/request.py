"""The plan of a verdict: from what is asked for to a study of all arms and its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr_placebo.analysis.prompts import halves
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.rewards.registry import BENCHMARK
from rlvr_placebo.rewards.spec import (
    Spec,
    canonical,
    describe,
    implied,
    informed,
    needs_votes,
    parse,
)
from rlvr_placebo.study.matrix import Study, make_study
from rlvr_placebo.text.duplicates import shared
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import get_template
from rlvr_placebo.train.settings import flat_settings
from rlvr_placebo.verdict.decision import FORMAT, LEAST_SEEDS, MAJORITY, PERMUTED, SHUFFLE
from rlvr_placebo.verdict.evidence import SAMPLED
from rlvr_placebo.verdict.protocol import SAMPLES, Protocol

MOST_SEEDS, MOST_SAMPLES = 1000, 10_000
# Where nothing else is asked for: end points, and settings that all arms share.
DEFAULTS: dict[str, dict[str, Any]] = {
    "pocket": {
        "given": "pocket-500", "fresh": "pocket-new", "development": "pocket-fresh@9001",
        "prompts": ("plain", "boxed", "forced_code", "nonsense"),
        "settings": {"pool": "pocket-train@400", "labels.samples": 16},
    },
    "paper": {
        "given": "math-500", "fresh": "aime-2025", "development": "amc",
        "prompts": ("plain", "boxed", "chat", "nonsense"),
        "settings": {"pool": "deepscaler", "labels.samples": 64},
    },
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What is asked of :func:`plan`; what is empty or None is chosen by the recipe."""

    models: tuple[str, ...]
    rewards: tuple[str, ...]
    given: str = ""
    fresh: str | None = None
    development: str | None = None
    prompts: tuple[str, ...] = ()
    seeds: int = 10
    delta: float = 3.0
    coverage: int = 64
    recipe: str = "pocket"
    settings: tuple[tuple[str, Any], ...] = ()


def control_rewards(reward: Spec) -> dict[str, Spec]:
    """The trained controls of a reward, by role."""
    return {
        SHUFFLE: canonical({"shuffle": [reward]}),
        FORMAT: FORMAT,
        PERMUTED: PERMUTED,
        MAJORITY: MAJORITY,
    }


def named(specs: Sequence[Spec]) -> dict[str, Any]:
    """What a protocol says of the rewards that are judged: names, controls, information."""
    return {
        "rewards": tuple(map(describe, specs)),
        "controls": {
            describe(s): {role: describe(c) for role, c in control_rewards(s).items()}
            for s in specs
        },
        "informed": tuple(describe(s) for s in specs if informed(s)),
    }


def plan(request: Request) -> tuple[Study, Protocol]:
    """The study of a reward beside its controls, and the protocol of its verdict.

    Every arm has the same problems, updates and settings; there is no tuning.

    Raises:
        PlaceboError: a reward, benchmark, template or setting does not fit.
    """
    _check(request)
    own = DEFAULTS.get(request.recipe, DEFAULTS["pocket"])
    given = request.given or own["given"]
    fresh = own["fresh"] if request.fresh is None else request.fresh
    development = own["development"] if request.development is None else request.development
    templates = request.prompts or own["prompts"]
    specs = [parse(reward) for reward in request.rewards]
    if len({describe(s) for s in specs}) < len(specs):
        raise PlaceboError("--reward: one is named twice")
    arms = {describe(s): s for s in specs}
    for spec in specs:
        arms |= {describe(c): c for c in control_rewards(spec).values()}
    settings = own["settings"] | {
        "labels.wrong_answers": max(1, *map(needs_votes, arms.values())),
        "evaluation.samples": SAMPLES,
        "evaluation.temperatures": [0.0, SAMPLED],
        "evaluation.benchmarks": [end for end in (given, fresh) if end],
    }
    for spec in specs:
        settings |= implied(spec)
    changes = flat_settings(dict(request.settings))
    for key in changes.keys() & {"evaluation.benchmarks", "evaluation.temperatures"}:
        raise PlaceboError(f"--set {key}: the end points are named by --benchmark and --fresh")
    if settings.get("pool") == BENCHMARK or changes.get("pool") == BENCHMARK:
        raise PlaceboError(
            "this reward trains on the test problems: its gain on them is no evidence, and the "
            "verdict would be invalid"
        )
    settings |= changes
    if settings["evaluation.samples"] < SAMPLES:
        raise PlaceboError(f"evaluation.samples: at least {SAMPLES} for a verdict")
    study = make_study(
        {
            "name": f"verdict on {', '.join(map(describe, specs))}",
            "models": list(request.models),
            "rewards": list(arms.values()),
            "seeds": list(range(1, request.seeds + 1)),
            "recipe": request.recipe,
            "settings": settings,
        },
        "verdict",
    )
    _check_problems(str(settings["pool"]), given, fresh, development)
    for template in templates:
        get_template(template)
    protocol = Protocol(
        given=given,
        fresh=fresh,
        delta=request.delta,
        seeds=request.seeds,
        models=request.models,
        development=development,
        prompts=tuple(templates),
        coverage=request.coverage,
        settings={"recipe": request.recipe, **settings},
        runs=tuple(study.runs),
        **named(specs),
    )
    return study, protocol


def _check(request: Request) -> None:
    if request.seeds < LEAST_SEEDS:
        raise PlaceboError(
            f"--seeds {request.seeds}: a verdict takes {LEAST_SEEDS} at least (with fewer, no "
            "rearrangement of the seeds is rare enough)"
        )
    if request.seeds > MOST_SEEDS or not 0 <= request.coverage <= MOST_SAMPLES:
        raise PlaceboError(f"--seeds: at most {MOST_SEEDS}; --coverage: 0 to {MOST_SAMPLES}")
    check_delta(request.delta)
    if not request.rewards or not request.models:
        raise PlaceboError("name at least one model and one reward")
    if request.development == "":
        raise PlaceboError("--development: without one there is no control C0, and no verdict")
    for what in ("models", "rewards", "prompts"):
        named = getattr(request, what)
        if len(set(named)) < len(named):
            raise PlaceboError(f"--{what.removesuffix('s')}: one is named twice")


def _check_problems(pool: str, given: str, fresh: str, development: str) -> None:
    """Refuse sets of problems with which the verdict would be invalid, or say nothing."""
    trained, judged = load_problems(pool), load_problems(given)
    sets = [(given, [("the training pool", trained)])]
    if fresh:
        sets.append((fresh, [("the training pool", trained), (given, judged)]))
    sets.append((development, [(given, judged)]))
    for name, others in sets:
        own = load_problems(name)
        clusters = {p.id: p.cluster for p in own}
        parts = halves(clusters) if name == development else [set(clusters)]
        if min(len({clusters[id] for id in part}) for part in parts) < 2:
            raise PlaceboError(
                f"{name}: its {len(own)} problems stand in too few clusters to show any spread"
            )
        for other, asked in others:
            if (overlap := shared(asked, own)).exact:
                raise PlaceboError(
                    f"{name}: {overlap.exact} of its problems stand in {other} too "
                    f"({overlap.example!r})"
                )


def check_delta(delta: float) -> None:
    """Refuse a δ that makes no sense.

    Raises:
        PlaceboError: it is not above 0 and below 100 points.
    """
    if not 0 < delta < 100:
        raise PlaceboError(f"--delta {delta:g}: points per hundred, above 0 and below 100")
