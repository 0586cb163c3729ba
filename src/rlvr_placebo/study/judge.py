"""Judge a reward: plan its arms beside its controls, run what is missing, give the verdict.

::

    OUT/protocol.json      what is compared and by which rules, written before the first run
    OUT/study.json, runs/  the study of all arms (see study/local.py)
    OUT/prompts/<name>     prompt sweeps of the untrained model and of every run of the reward
    OUT/coverage/<name>    many samples of the same models, for pass@k
    OUT/verdict.json       the verdict
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_placebo.analysis.decision import FORMAT, LEAST_SEEDS, MAJORITY, PERMUTED, REWARD, SHUFFLE
from rlvr_placebo.analysis.evidence import (
    COVERAGE,
    PROMPTS,
    SAMPLED,
    Evidence,
    base_name,
    gather,
)
from rlvr_placebo.analysis.folder import MARKER, StudyFolder
from rlvr_placebo.analysis.prompts import halves
from rlvr_placebo.analysis.protocol import FILE, SAMPLES, Protocol, read_protocol
from rlvr_placebo.analysis.verdict import judge
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import RunDirectory, differences, locked
from rlvr_placebo.evaluate.contract import EvaluationConfig
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
from rlvr_placebo.study.local import Launch, Progress, run_study
from rlvr_placebo.study.matrix import Study, make_study
from rlvr_placebo.text.duplicates import shared
from rlvr_placebo.text.problems import load_problems
from rlvr_placebo.text.templates import get_template
from rlvr_placebo.train.prompts import sweep_prompts
from rlvr_placebo.train.settings import flat_settings
from rlvr_placebo.train.standalone import evaluate_model
from rlvr_placebo.train.watch import Watch

VERDICT = "verdict.json"
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


def _named(specs: Sequence[Spec]) -> dict[str, Any]:
    """What a protocol says of the rewards that are judged."""
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
        **_named(specs),
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
    _check_delta(request.delta)
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


def _check_delta(delta: float) -> None:
    if not 0 < delta < 100:
        raise PlaceboError(f"--delta {delta:g}: points per hundred, above 0 and below 100")


def train_arms(
    study: Study, protocol: Protocol, out: Path, workers: int,
    report: Callable[[Progress], None] = lambda progress: None,
) -> None:  # fmt: skip
    """Write the protocol and carry out what is left of its runs; stopped, the same call goes on.

    Raises:
        PlaceboError: ``out`` holds something else, or every run of an arm failed.
    """
    write_protocol(protocol, out)
    run_study(study, Launch(out, workers, go_on=True), report)


def conclude(protocol: Protocol, out: Path, watch: Watch) -> dict[str, Any]:
    """Try prompts, sample for coverage, and judge; stopped at any time, the same call goes on.

    Returns:
        The verdict, as it is in ``verdict.json``.
    """
    folder = StudyFolder.open(out)
    for evidence in gather(folder, protocol):
        _sweep(evidence, watch)
        _cover(evidence, watch)
    return write_verdict(folder, protocol)


def write_protocol(protocol: Protocol, out: Path) -> None:
    """Write the protocol before anything else; another one must not be there."""
    for parent in out.resolve().parents:
        if (parent / MARKER).exists():
            raise PlaceboError(f"{out}: lies inside the study {parent}; choose another --out")
    known = read_protocol(out) if out.is_dir() else None
    if known is not None and known.hash != protocol.hash and (out / "runs").exists():
        keys = sorted(differences(known.as_dict(), protocol.as_dict()))
        keys = ["the code of a reward" if key == "runs" else key for key in keys
                if key != "runs" or len(keys) == 1]  # fmt: skip
        raise PlaceboError(
            f"{out}: holds a verdict by another protocol ({', '.join(keys)} differ); runs made for "
            "one do not count for another: choose another --out"
        )
    with locked(out):
        if known is None and any(out.iterdir()):
            raise PlaceboError(f"{out}: in use, and not by a verdict; choose another --out")
        if known is None or known.hash != protocol.hash:  # nothing was run by the one before
            (out / MARKER).unlink(missing_ok=True)
            write_json(out / FILE, {"protocol": protocol.as_dict(), "hash": protocol.hash})


def write_verdict(folder: StudyFolder, protocol: Protocol) -> dict[str, Any]:
    """Judge a study and leave ``verdict.json`` in its folder."""
    document = judge(folder, protocol)
    write_json(folder.path / VERDICT, document)
    return document


def _beside(evidence: Evidence) -> dict[str, str]:
    """The models that are measured beside the study's own evaluations, by the name of a folder."""
    models = {base_name(evidence.model): evidence.model}
    for run in evidence.arms[REWARD]:
        if run.finished:
            final = run.path / run.read_json("result.json")["final_checkpoint"]
            models[run.path.name] = str(final)
    return models


def _sweep(evidence: Evidence, watch: Watch) -> None:
    """Try prompts on the untrained model and on every model that the reward trained."""
    protocol = evidence.protocol
    if not protocol.development:
        return
    evaluation = evidence.first.config["evaluation"]
    how = EvaluationConfig(
        (protocol.development,), 0, (0.0, SAMPLED), SAMPLES, evaluation["max_tokens"],
        evaluation["seed"], evaluation["extraction"],
    )  # fmt: skip
    for name, model in _beside(evidence).items():
        folder = evidence.folder.path / PROMPTS / name
        if not RunDirectory(folder).finished:
            sweep_prompts(model, how, protocol.prompts, folder, True, watch)


def _cover(evidence: Evidence, watch: Watch) -> None:
    """Sample the same models often, for pass@k."""
    protocol = evidence.protocol
    if not protocol.coverage:
        return
    config = evidence.first.config
    evaluation = config["evaluation"]
    how = EvaluationConfig(
        (protocol.given,), 0, (SAMPLED,), protocol.coverage, evaluation["max_tokens"],
        evaluation["seed"], evaluation["extraction"],
    )  # fmt: skip
    for name, model in _beside(evidence).items():
        folder = evidence.folder.path / COVERAGE / name
        if not RunDirectory(folder).finished:
            evaluate_model(model, how, config["template"], folder, True, watch)


def verdict_on(
    path: Path, given: str, fresh: str, delta: float | None, rewards: tuple[str, ...]
) -> dict[str, Any]:
    """Judge a finished study: by its own protocol, or by end points named afterwards.

    Raises:
        PlaceboError: the folder holds no study; or it has a protocol, and other end points are
            named.
    """
    folder = StudyFolder.open(path)
    protocol = read_protocol(path)
    if protocol is not None:
        if given or fresh or delta is not None or rewards:
            raise PlaceboError(
                f"{path}: has a protocol, written before its runs; it cannot be judged by another"
            )
        return write_verdict(folder, protocol)
    _check_delta(delta := 3.0 if delta is None else delta)
    chosen = given or _begun(folder)["contracts"][0]["benchmark"]
    if chosen == fresh:
        raise PlaceboError(f"--fresh {fresh}: is the benchmark itself")
    afterwards = Protocol(
        given=chosen,
        fresh=fresh,
        delta=delta,
        seeds=LEAST_SEEDS,
        runs=tuple(folder.names),
        before=False,
        **_named([parse(r) for r in rewards] or _judged(folder)),
    )
    return write_verdict(folder, afterwards)


def _begun(folder: StudyFolder) -> dict[str, Any]:
    """The configuration of the first run that has begun."""
    for run in map(folder.run, folder.names):
        if (run.path / "config.json").exists():
            return run.config
    raise PlaceboError(f"{folder.path}: no run has begun yet")


def _judged(folder: StudyFolder) -> list[Spec]:
    """The rewards of a study but those that are controls and nothing else.

    Raises:
        PlaceboError: there is none.
    """
    specs: dict[str, Spec] = {}
    for entry in folder.document["runs"]:
        run = folder.run(entry["name"])
        if entry["reward"] not in specs and (run.path / "config.json").exists():
            specs[entry["reward"]] = run.config["reward"]
    found = [s for n, s in specs.items() if not n.startswith("shuffle(") and n != PERMUTED]
    if not found:
        raise PlaceboError(f"{folder.path}: no reward to judge; there are only controls")
    return found
