"""Carry claims out: the runs of all their studies in one folder, each once, then the findings.

::

    OUT/study.json, runs/        the study of all runs (see study/local.py)
    OUT/prompted/<key>/<name>    models under other prompts than their own
    OUT/claims.json              what was found
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rlvr_placebo.analysis.contrasts import Outcomes
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.claims.claim import RULES, Arm, Claim, Finding, Reading
from rlvr_placebo.claims.decide import decide
from rlvr_placebo.claims.readings import outcomes_of
from rlvr_placebo.claims.registry import CLAIMS, SIGNATURES
from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.rewards.spec import describe as spell
from rlvr_placebo.study.local import Launch, Progress, run_study
from rlvr_placebo.study.matrix import Study, load_study
from rlvr_placebo.study.pool import Job, carry_out
from rlvr_placebo.train.config import RunConfig
from rlvr_placebo.train.watch import Watch
from rlvr_placebo.verdict.evidence import base_name

RESULT, PROMPTED = "claims.json", "prompted"


def study_file(name: str, scale: str = "pocket") -> Path:
    """The study file of a claim: shipped under this name, or anybody's own, by its path."""
    if name.endswith(".toml"):
        return Path(name)
    return Path(str(files("rlvr_placebo.claims") / "studies" / scale / f"{name}.toml"))


def choose(ids: Sequence[str], quick: bool) -> list[Claim]:
    """Claims by id; without any, all of them or the quick ones.

    Raises:
        PlaceboError: there is none of that id.
    """
    for id in ids:
        if id not in CLAIMS:
            raise PlaceboError(f"unknown claim {id!r}; {suggest(id, CLAIMS)}")
    chosen = [CLAIMS[id] for id in dict.fromkeys(ids)] or list(CLAIMS.values())
    return [claim for claim in chosen if claim.quick or not quick or ids]


def describe(claim: Claim) -> dict[str, Any]:
    """A claim before it is run: its effects and how each is decided, ready for JSON."""
    effects = [
        {"effect": e.says, "rule": str(e.rule), "margin": e.margin, "means": RULES[e.rule]}
        for e in claim.effects
    ]
    study = load_study(study_file(claim.study))
    seeds = sorted({config.seed for config in study.runs.values()})
    return {
        "id": claim.id, "says": claim.says, "source": claim.source, "quick": claim.quick,
        "study": claim.study, "seeds": seeds, "effects": effects,
    }  # fmt: skip


def study_of(claims: Sequence[Claim]) -> Study:
    """Every run that some claims rest on, once.

    Raises:
        PlaceboError: a study file does not fit.
    """
    runs = {}
    for claim in claims:
        wanted = {arm for effect in claim.effects for _, arm, _ in effect.terms}
        for name, config in load_study(study_file(claim.study)).runs.items():
            if _arm(config) in wanted:
                runs[name] = config
    return Study("claims", "What the article claims, in the embedded lab.", runs)


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
        PlaceboError: the folder holds something else, or a run failed.
    """
    started = time.monotonic()
    study = study_of(claims)
    run_study(study, launch, report)
    folder = _Findings(StudyFolder.open(launch.out), study)
    ready = [claim for claim in claims if folder.has(claim)]
    left = None
    if launch.seconds is not None:
        left = max(0.0, launch.seconds - (time.monotonic() - started))
    jobs = {k: job for claim in ready for k, job in folder.prompts(claim).items()}
    carry_out(jobs, launch.workers, "other prompts", watch, left)
    done = [c for c in ready if all(job.done for job in folder.prompts(c).values())]
    found = [decide(claim, folder.look) for claim in done]
    document = {
        "claims": found,
        "waiting": [claim.id for claim in claims if claim not in done],
        "signatures": _signatures(found),
    }
    write_json(launch.out / RESULT, document)
    return document


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
    study: Study

    def runs(self, arm: Arm) -> list[RunDirectory]:
        names = [name for name, config in self.study.runs.items() if _arm(config) == arm]
        return [self.folder.run(name) for name in names]

    def has(self, claim: Claim) -> bool:
        arms = {arm for effect in claim.effects for _, arm, _ in effect.terms}
        return all(run.finished for arm in arms for run in self.runs(arm))

    def look(self, arm: Arm, reading: Reading) -> Outcomes:
        return outcomes_of(self.runs(arm), reading, self.prompted)

    def prompted(self, run: RunDirectory, reading: Reading) -> RunDirectory:
        """Where a run's model is evaluated under another prompt."""
        name = base_name(run.config["model"]) if reading.untrained else run.path.name
        return RunDirectory(self.folder.path / PROMPTED / reading.template / name)

    def prompts(self, claim: Claim) -> dict[str, Job]:
        """What has to be measured beside the runs of a claim."""
        jobs = {}
        for effect in claim.effects:
            for _, arm, reading in effect.terms:
                own = self.runs(arm) if reading.template else []
                for run in own[:1] if reading.untrained else own:
                    out = self.prompted(run, reading).path
                    jobs[f"{reading.template}/{out.name}"] = _evaluation(run, reading, out)
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
    arguments = {"model": model, "how": how, "template": reading.template}
    return Job("evaluate", out, log, arguments)
