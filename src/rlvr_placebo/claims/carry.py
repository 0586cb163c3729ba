"""Carry claims out: the runs of all their studies in one folder, each once, then the findings.

::

    OUT/study.json, runs/        the study of all runs (see study/local.py)
    OUT/built/<name>             says that a variety was built, and where
    OUT/prompted/<what>/<name>   models under other prompts than their own
    OUT/claims.json              what was found
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from rlvr_placebo.analysis.contrasts import Outcomes
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.claims.claim import RULES, Arm, Claim, Finding, Reading
from rlvr_placebo.claims.correlation import correlations
from rlvr_placebo.claims.decide import decide, undecidable
from rlvr_placebo.claims.readings import outcomes_of
from rlvr_placebo.claims.registry import CLAIMS, SIGNATURES
from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.model.folders import built_families, shipped_families
from rlvr_placebo.rewards.spec import describe as spell
from rlvr_placebo.study.local import Launch, Progress, claimed, run_claimed
from rlvr_placebo.study.matrix import Study, load_study, run_name
from rlvr_placebo.study.pool import Job, carry_out
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.standalone import computing_of
from rlvr_placebo.train.watch import Watch
from rlvr_placebo.verdict.evidence import base_name

RESULT, PROMPTED = "claims.json", "prompted"
TRAINED = "trained/"  # of a model's name: a family after true labels


def study_file(name: str, scale: str = "pocket") -> Path:
    """The study file of a claim: shipped under this name, or anybody's own, by its path."""
    if name.endswith(".toml"):
        return Path(name)
    return Path(str(files("rlvr_placebo.claims") / "studies" / scale / f"{name}.toml"))


def study_of(name: str) -> Study:
    """The study of a claim; read once, as long as its file is the same."""
    path = study_file(name)
    return _read(path, path.stat().st_mtime_ns if path.exists() else 0)


@cache
def _read(path: Path, changed: int) -> Study:
    del changed  # a file that has changed is another
    return load_study(path)


def choose(ids: Sequence[str], quick: bool) -> list[Claim]:
    """Claims by id; without any, all of them or the quick ones.

    Raises:
        PlaceboError: there is none of that id.
    """
    for id in ids:
        if id not in CLAIMS:
            raise PlaceboError(f"unknown claim {id!r}; {suggest(id, [*CLAIMS, 'run'])}")
    chosen = [CLAIMS[id] for id in dict.fromkeys(ids)] or list(CLAIMS.values())
    return [claim for claim in chosen if claim.quick or not quick or ids]


def describe(claim: Claim) -> dict[str, Any]:
    """A claim before it is run: its effects and how each is decided, ready for JSON."""
    effects = [
        {"effect": e.says, "rule": str(e.rule), "margin": e.margin, "means": RULES[e.rule]}
        for e in claim.effects
    ]
    study = study_of(claim.study)
    seeds = sorted({config.seed for config in study.runs.values()})
    return {
        "id": claim.id, "says": claim.says, "source": claim.source, "quick": claim.quick,
        "study": claim.study, "seeds": seeds, "effects": effects,
    }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The runs that some claims rest on, each once, and the arm each belongs to."""

    study: Study
    arms: Mapping[str, Arm]


def plan_of(claims: Sequence[Claim], out: Path) -> Plan:
    """Every run that some claims rest on.

    A model ``trained/<family>`` is the family after true labels; its arms are left out until the
    run that makes it is finished in ``out``, and those of a variety until it is built.

    Raises:
        PlaceboError: a study file does not fit.
    """
    runs: dict[str, RunConfig] = {}
    arms: dict[str, Arm] = {}
    for claim in claims:
        wanted = {arm for effect in claim.effects for _, arm, _ in effect.terms}
        for name, config in study_of(claim.study).runs.items():
            if _arm(config) not in wanted or _unbuilt(config.model):
                continue
            own, chosen = name, config
            if config.model.startswith(TRAINED):
                teacher, how = _teacher(config.model)
                runs[teacher], arms[teacher] = how, _arm(how)
                run = RunDirectory(out / "runs" / teacher)
                if not run.finished:
                    continue
                run.must_be_whole()
                checkpoint = run.path / run.read_json("result.json")["final_checkpoint"]
                chosen = replace(config, model=str(checkpoint.resolve()))
                own = run_name(chosen)
            runs[own], arms[own] = chosen, _arm(config)
    says = "What is claimed of RLVR, in the embedded lab."
    return Plan(Study("claims", says, runs), arms)


def _unbuilt(model: str) -> bool:
    """Whether a model is an embedded variety that is not there yet."""
    return model.startswith("pocket/") and model not in built_families() | shipped_families()


def _builds(claims: Sequence[Claim], out: Path) -> dict[str, Job]:
    """The varieties that some claims ask for and that are not there."""
    models = {arm.model for c in claims for effect in c.effects for _, arm, _ in effect.terms}
    return {
        model: Job("build", out / "built" / name, out / "logs" / f"{name}.txt", {"model": model})
        for model in sorted(filter(_unbuilt, models))
        for name in [model.removeprefix("pocket/")]
    }


def _teacher(model: str) -> tuple[str, RunConfig]:
    """The run that makes ``trained/<family>``: true labels, first seed."""
    arm = Arm(f"pocket/{model.removeprefix(TRAINED)}", "ground_truth")
    runs = study_of("labels").runs
    return next((name, config) for name, config in runs.items() if _arm(config) == arm)


def run_claims(
    claims: Sequence[Claim], launch: Launch, watch: Watch,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:  # fmt: skip
    """Carry out what is left of some claims and say what was found.

    Args:
        claims: which.
        launch: where, with how many workers, and for how long.
        watch: hears of what is measured beside the runs.
        report: called about twice a second while there are runs.

    Returns:
        What ``claims.json`` holds: a finding for each claim whose runs are all finished, and the
        names of the others.

    Raises:
        PlaceboError: the folder holds something else, or every run of an arm failed.
    """
    launch = replace(launch, go_on=True)
    with claimed(launch.out, plan_of(claims, launch.out).study):
        return _run_claims(claims, launch, watch, report)


def _run_claims(
    claims: Sequence[Claim], launch: Launch, watch: Watch, report: Callable[[Progress], None]
) -> dict[str, Any]:
    started = time.monotonic()
    builds = _builds(claims, launch.out)
    carry_out(
        builds, launch.workers, "models to build, a quarter of an hour each", watch, launch.seconds
    )
    plan = plan_of(claims, launch.out)
    run_claimed(plan.study, launch.since(started), report)
    again = plan_of(claims, launch.out)  # with what starts from models that are trained now
    if again.arms.keys() != plan.arms.keys():
        plan = again
        run_claimed(plan.study, launch.since(started), report)
    folder = _Findings(StudyFolder.open(launch.out), plan)
    ready = [claim for claim in claims if folder.has(claim)]
    jobs = {k: job for claim in ready for k, job in folder.prompts(claim).items()}
    carry_out(jobs, launch.workers, "other prompts", watch, launch.since(started).seconds)
    done = [c for c in ready if all(job.done for job in folder.prompts(c).values())]
    for job in jobs.values():
        if job.done:
            RunDirectory(job.out).must_be_whole()
    now = _decided(done, folder)
    found = {**_known(launch.out, claims), **now}
    document = {
        "claims": [found[id] for id in dict.fromkeys([*CLAIMS, *now]) if id in found],
        "waiting": [claim.id for claim in claims if claim not in done],
        "crashed": folder.folder.document.get("crashed", {}),
        "signatures": _signatures(list(found.values())),
        "code_and_accuracy": correlations(folder.finished()),
    }
    write_json(launch.out / RESULT, document)
    return document


def _known(out: Path, claims: Sequence[Claim]) -> dict[str, dict[str, Any]]:
    """What was found before of claims that are not asked for now, if they still say the same."""
    asked = {claim.id for claim in claims}
    try:
        entries = RunDirectory(out).read_json(RESULT)["claims"] if (out / RESULT).exists() else []
        return {
            entry["id"]: entry
            for entry in entries
            if entry["id"] in CLAIMS.keys() - asked
            and entry["digest"] == CLAIMS[entry["id"]].digest
        }
    except (PlaceboError, KeyError, TypeError):
        return {}


def _decided(claims: Sequence[Claim], folder: _Findings) -> dict[str, dict[str, Any]]:
    """The finding of each claim, or why there is none; an arm that several rest on is read once."""
    look, flat = cache(folder.look), cache(folder.flat)
    found = {}
    for claim in claims:
        try:
            found[claim.id] = decide(claim, look, flat)
        except ValueError as error:
            found[claim.id] = undecidable(claim, str(error))
    return found


def _signatures(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many of the signatures that nobody calibrated were shown."""
    known = {entry["id"]: entry["finding"] for entry in found}
    own = {id: known[id] for id in SIGNATURES if id in known}
    return {"shown": sum(f == Finding.SHOWN for f in own.values()), "of": len(own), "by": own}


def _arm(config: RunConfig) -> Arm:
    return Arm(config.model, spell(config.reward), config.variant)


@dataclass(frozen=True, eq=False)
class _Findings:
    """The finished runs of a folder, as claims look at them."""

    folder: StudyFolder
    plan: Plan

    def runs(self, arm: Arm) -> list[RunDirectory]:
        names = [name for name, own in self.plan.arms.items() if own == arm]
        return [self.folder.run(name) for name in names]

    def finished(self) -> dict[Arm, list[RunDirectory]]:
        """The finished runs of every arm."""
        arms = dict.fromkeys(self.plan.arms.values())
        return {arm: [run for run in self.runs(arm) if run.finished] for arm in arms}

    def has(self, claim: Claim) -> bool:
        arms = {arm for effect in claim.effects for _, arm, _ in effect.terms}
        runs = [self.runs(arm) for arm in arms]
        return all(own and all(run.finished for run in own) for own in runs)

    def look(self, arm: Arm, reading: Reading) -> Outcomes:
        return outcomes_of(self.runs(arm), reading, self.prompted)

    def flat(self, arm: Arm) -> float:
        """Share of groups whose rewards did not vary, over all steps and seeds."""
        steps = [row for run in self.runs(arm) for row in run.metrics("step")]
        return float(np.mean([row["frac_reward_zero_std"] for row in steps]))

    def prompted(self, run: RunDirectory, reading: Reading) -> RunDirectory:
        """Where a run's model is evaluated under another prompt."""
        name = base_name(run.config["model"]) if reading.untrained else run.path.name
        what = f"{reading.template}-{reading.benchmark}-T{reading.temperature:g}"
        return RunDirectory(self.folder.path / PROMPTED / what / name)

    def prompts(self, claim: Claim) -> dict[str, Job]:
        """What has to be measured beside the runs of a claim."""
        jobs = {}
        for effect in claim.effects:
            for _, arm, reading in effect.terms:
                own = self.runs(arm) if reading.template else []
                for run in own[:1] if reading.untrained else own:
                    out = self.prompted(run, reading).path
                    jobs[f"{out.parent.name}/{out.name}"] = _evaluation(run, reading, out)
        return jobs


def _evaluation(run: RunDirectory, reading: Reading, out: Path) -> Job:
    config = run.config
    final = run.path / run.read_json("result.json")["final_checkpoint"]
    how = {
        **config["evaluation"],
        "benchmarks": [reading.benchmark],
        "temperatures": [reading.temperature],
        "every": 0,
    }
    model = config["model"] if reading.untrained else str(final)
    log = out.parent / f"{out.name}.txt"
    arguments = {"model": model, "how": how, "template": reading.template,
                 "computing": computing_of(config)}  # fmt: skip
    return Job("evaluate", out, log, arguments)
