"""From the runs of a study to the outcomes that a verdict compares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rlvr_placebo.analysis.arms import Samples, samples
from rlvr_placebo.analysis.contrasts import BASE, Key, Outcomes
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.analysis.prompts import prompt_outcomes
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.verdict.decision import REWARD, TRAINED, Ends
from rlvr_placebo.verdict.protocol import Protocol

if TYPE_CHECKING:
    import pyarrow as pa

PROMPTS, COVERAGE = "prompts", "coverage"  # folders of a study
SAMPLED = 1.0  # the temperature of the outcome


@dataclass(frozen=True, eq=False)
class Evidence:
    """The runs behind one verdict.

    Attributes:
        model: that was trained.
        reward: that is judged, as written on the command line.
        variant: of the runs.
        arms: runs of the reward and of every trained control that is there, by role.
        folder: of the study.
        protocol: by which it is judged.
    """

    model: str
    reward: str
    variant: str
    arms: Mapping[str, Sequence[RunDirectory]]
    folder: StudyFolder
    protocol: Protocol

    @property
    def same(self) -> tuple[str, ...]:
        """Controls that the reward itself is."""
        controls = self.protocol.controls[self.reward]
        return tuple(role for role in TRAINED if controls[role] == self.reward)

    @property
    def informed(self) -> bool:
        """Whether the reward uses information from outside the model."""
        return self.reward in self.protocol.informed

    @cached_property
    def sweeps(self) -> dict[str, list[RunDirectory]]:
        """Finished prompt sweeps of the untrained model and of the reward's runs."""
        return self._beside(PROMPTS)

    @cached_property
    def covered(self) -> dict[str, list[RunDirectory]]:
        """Finished evaluations with many samples, likewise."""
        return self._beside(COVERAGE)

    def _beside(self, kind: str) -> dict[str, list[RunDirectory]]:
        where = self.folder.path / kind
        base = base_name(self.model)  # stands for a run that crashed, too
        own = [run.path.name if run.finished else base for run in self.arms[REWARD]]
        names = {BASE: [base], REWARD: own}
        found = {arm: [RunDirectory(where / n) for n in many] for arm, many in names.items()}
        whole = all(run.finished for runs in found.values() for run in runs)
        return found if whole else {}

    @property
    def ends(self) -> Ends:
        """The keys of the end points."""
        half = f"half of {self.protocol.development or 'the development set'}"
        prompts = (half, f"{half}, T = 1") if self.sweeps else (None, None)
        return Ends(self.protocol.given, self.protocol.fresh or None, *prompts)

    def outcomes(self, temperature: float = SAMPLED) -> dict[Key, Outcomes]:
        """What every arm scored on every benchmark, and at its best prompts."""
        found: dict[Key, Outcomes] = {}
        for end in (self.protocol.given, self.protocol.fresh):
            if not end:
                continue
            before = self.before(end, temperature)
            found[BASE, end] = _outcomes([before], before.ids, False)
            for role, runs in self.arms.items():
                rows = [self.after(run, end, temperature) for run in runs]
                found[role, end] = _outcomes(rows, before.ids, True)
        for end, only in ((self.ends.prompts, None), (self.ends.prompts_at_1, SAMPLED)):
            if end and temperature == SAMPLED:
                for arm, sweeps in self.sweeps.items():
                    found[arm, end] = prompt_outcomes(sweeps, arm == REWARD, only)
        return found

    @cached_property
    def first(self) -> RunDirectory:
        """A run of the reward whose untrained model was evaluated; its configuration is theirs."""
        return next(run for run in self.arms[REWARD] if has_evaluation(run))

    def before(self, end: str, temperature: float) -> Samples:
        """The untrained model on a benchmark."""
        return samples(self.first.evaluation(0), end, temperature)

    def after(self, run: RunDirectory, end: str, temperature: float) -> Samples:
        """A trained model; of a run that crashed what was evaluated last, be it untrained."""
        return samples(self.last_evaluation(run), end, temperature)

    def last_evaluation(self, run: RunDirectory) -> pa.Table:
        """Every sample of the last evaluation of a run."""
        if not has_evaluation(run):
            return self.first.evaluation(0)
        return run.evaluation(last_step(run))

    @cached_property
    def crashed(self) -> dict[str, str]:
        """Runs that could not end, by name, with the reason."""
        known = self.folder.document.get("crashed", {})
        runs = [run for own in self.arms.values() for run in own if not run.finished]
        return {run.path.name: str(known[run.path.name]) for run in runs if run.path.name in known}

    def must_be_whole(self) -> None:
        """Refuse evidence that is not finished, or not what was written.

        Raises:
            PlaceboError: a run, a prompt sweep or a sampling for coverage is; it is named.
        """
        runs = [run for own in self.arms.values() for run in own]
        waiting = [r for r in runs if not r.finished and r.path.name not in self.crashed]
        if waiting:
            raise PlaceboError(
                f"{self.folder.path}: {len(waiting)} runs are not finished, the first is "
                f"{waiting[0].path.name}; the command that began them goes on"
            )
        wanted = {PROMPTS: self.protocol.development, COVERAGE: self.protocol.coverage}
        for kind, asked in wanted.items():
            if asked and not self._beside(kind):
                raise PlaceboError(
                    f"{self.folder.path / kind}: not finished; the same `placebo judge` goes on"
                )
        beside = [*self.sweeps.values(), *self.covered.values()]
        for run in [*runs, *(run for own in beside for run in own)]:
            if run.finished:
                run.must_be_whole()


def base_name(model: str) -> str:
    """Name of the folder beside a study's runs that belongs to the untrained model."""
    return f"base-{digest(model)[:8]}"


def has_evaluation(run: RunDirectory) -> bool:
    """Whether the untrained model of a run was evaluated, and so at least its start is known."""
    return (run.path / "evaluations" / "step-000000.parquet").exists()


def last_step(run: RunDirectory) -> int:
    """The last step of a finished run; of another one the step that was evaluated last."""
    if run.finished:
        return int(run.config["steps"])
    steps = (_EVALUATED.fullmatch(path.name) for path in run.path.glob("evaluations/*"))
    return max(int(found[1]) for found in steps if found)


_EVALUATED = re.compile(r"step-(\d{6,})\.parquet")


def _outcomes(rows: Sequence[Samples], ids: Sequence[str], trained: bool) -> Outcomes:
    """Outcomes of several evaluations, their problems in one order."""
    first = rows[0]
    clusters = dict(zip(first.ids, first.clusters, strict=True))
    shares = np.array([row.correct_of(ids) for row in rows])
    return Outcomes(shares, tuple(clusters[id] for id in ids), first.samples, trained)


def gather(folder: StudyFolder, protocol: Protocol) -> list[Evidence]:
    """The evidence about every reward that the protocol judges, by model and variant."""
    arms: dict[tuple[str, str], dict[str, list[RunDirectory]]] = {}
    for entry in folder.document["runs"]:
        own = arms.setdefault((entry["model"], entry["variant"]), {})
        own.setdefault(entry["reward"], []).append(folder.run(entry["name"]))
    found = []
    for (model, variant), by_reward in arms.items():
        for reward in protocol.rewards:
            if reward not in by_reward:
                continue
            controls = protocol.controls[reward]
            members = {REWARD: by_reward[reward]} | {
                role: by_reward[controls[role]]
                for role in TRAINED
                if controls[role] in by_reward and controls[role] != reward
            }
            found.append(Evidence(model, reward, variant, members, folder, protocol))
    if not found:
        raise PlaceboError(f"{folder.path}: none of the rewards to judge is in it")
    return found
