"""From the runs of a study to the outcomes that a verdict compares, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rlvr_placebo.analysis.arms import Samples, check_comparable, samples
from rlvr_placebo.analysis.contrasts import BASE, Key, Outcomes
from rlvr_placebo.analysis.decision import (
    CONTROLS,
    LEAST_SEEDS,
    PROMPT,
    REWARD,
    TRAINED,
    Ends,
)
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.analysis.prompts import prompt_outcomes
from rlvr_placebo.analysis.protocol import SAMPLES, Protocol
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.rundir import RunDirectory, differences
from rlvr_placebo.verify.judge import plain_math_verify

if TYPE_CHECKING:
    import pyarrow as pa

PROMPTS, COVERAGE = "prompts", "coverage"  # folders of a study
DISAGREEMENT = 0.01  # of two verifiers, at most
UNKNOWN = 0.01  # share of an arm's answers that our verifier could not judge, at most
LOST = 0.2  # share of an arm's runs that may crash
ASKED = 1000  # different pairs of gold and answer that the second verifier is asked
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

    def faults(self) -> list[str]:
        """Everything that makes the study invalid for this reward, one line each."""
        found = self._missing() + self._unfit()
        if not found:
            found += self._flat() + self._unjudged() + self._disputed()
        return found

    def _missing(self) -> list[str]:
        """Controls, seeds and runs that are not there, or are not those of the protocol."""
        protocol, lines = self.protocol, []
        if sorted(protocol.runs) != sorted(self.folder.names):
            lines.append("the study's runs are not those of the protocol")
        lacking = [role for role in TRAINED if role not in self.arms and role not in self.same]
        names = [CONTROLS[role].partition(":")[0] + f" {role}" for role in lacking]
        if not self.sweeps:
            names.append(f"C0 {PROMPT}")
        if names:
            lines.append(f"controls are missing: {', '.join(names)}")
        seed_of = {run["name"]: run["seed"] for run in self.folder.document["runs"]}
        seeds = [{seed_of[run.path.name] for run in runs} for runs in self.arms.values()]
        wanted = max(LEAST_SEEDS, protocol.seeds)
        few = [r for r, own in zip(self.arms, seeds, strict=True) if len(own) < wanted]
        if few:
            least = min(len(own) for own in seeds)
            lines.append(f"seeds: {wanted} wanted, {least} there (arms {', '.join(few)})")
        for role, runs in self.arms.items():
            gone = sum(run.path.name in self.crashed for run in runs)
            if gone > LOST * len(runs):
                lines.append(f"{gone} of {len(runs)} runs of {role} crashed")
        return lines

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

    def _unfit(self) -> list[str]:
        """Evaluations that do not allow the comparison."""
        there = [run for own in self.arms.values() for run in own]
        runs = [run for run in there if has_evaluation(run)]
        lost = [r.path.name for r in there if r not in runs and r.path.name not in self.crashed]
        if lost or not any(has_evaluation(run) for run in self.arms[REWARD]):
            name = lost[0] if lost else self.arms[REWARD][0].path.name
            return [f"a run has no evaluation at all: {name}"]
        try:
            check_comparable(runs)
        except PlaceboError as error:
            return [f"contracts differ: {error}"]
        lines, protocol = [], self.protocol
        contracts = {c["benchmark"]: c for c in runs[0].config["contracts"]}
        for end in filter(None, (protocol.given, protocol.fresh)):
            if end not in contracts:
                lines.append(f"{end} was not evaluated; there are {', '.join(contracts)}")
                continue
            drawn = {d["temperature"]: d["samples"] for d in contracts[end]["decodings"]}
            if drawn.get(SAMPLED, 0) < SAMPLES:
                lines.append(
                    f"{end}: {SAMPLES} samples per problem at T = 1 wanted, "
                    f"{drawn.get(SAMPLED, 0)} there"
                )
            if any(end in run.config.get("trains_on_test", ()) for run in runs):
                lines.append(f"{end}: the training pool overlaps it")
        own = self.first.config
        for run in runs:
            aside = {"reward", "reward_name", "reward_code", "seed"}
            if other := sorted(differences(own, run.config) - aside):
                lines.append(f"{run.path.name}: trained otherwise ({', '.join(other)} differ)")
                break
        return lines

    def _flat(self) -> list[str]:
        """A reward that never told two completions of a group apart."""
        steps = [
            r["frac_reward_zero_std"] for run in self.arms[REWARD] for r in run.metrics("step")
        ]
        return ["the reward was constant in every group"] if steps and min(steps) == 1 else []

    def _unjudged(self) -> list[str]:
        """Arms with too many answers that our verifier could not judge."""
        lines = []
        for end in filter(None, (self.protocol.given, self.protocol.fresh)):
            arms = {role: [self.after(run, end, SAMPLED) for run in runs]
                    for role, runs in self.arms.items()}  # fmt: skip
            for role, found in {BASE: [self.before(end, SAMPLED)], **arms}.items():
                share = np.mean([f.unknown / (len(f.ids) * f.samples) for f in found])
                if share > UNKNOWN:
                    lines.append(
                        f"{end}: {100 * share:.1f} % of the answers of {role} could not be judged "
                        f"({100 * UNKNOWN:g} % at most)"
                    )
        return lines

    def _disputed(self) -> list[str]:
        """Answers on which a second verifier disagrees too often."""
        found = self.dispute
        if found["share"] is None or found["share"] <= DISAGREEMENT:
            return []
        return [
            f"two verifiers disagree on {100 * found['share']:.1f} % of the answers "
            f"({100 * DISAGREEMENT:g} % at most)"
        ]

    @cached_property
    def dispute(self) -> dict[str, float | int | None]:
        """How often ``math-verify``, as it comes, disagrees with our verifier.

        Returns:
            ``share`` of the answers that both could judge, ``asked`` (different pairs of gold and
            answer), ``answers`` behind them, ``unjudged`` ones by one of the two.
        """
        counts: dict[tuple[str, str, bool | None], int] = {}
        runs = [run for own in self.arms.values() for run in own]
        tables = [self.first.evaluation(0), *map(self.last_evaluation, runs)]
        for table in tables:
            for row in table.select(["gold", "extracted", "correct"]).to_pylist():
                if row["gold"] is not None and row["extracted"] is not None:
                    key = (row["gold"], row["extracted"], row["correct"])
                    counts[key] = counts.get(key, 0) + 1
        chosen = sorted(counts, key=lambda key: digest(list(key)))[:ASKED]
        judged = unjudged = wrong = 0
        for gold, answer, ours in chosen:
            times = counts[gold, answer, ours]
            theirs = plain_math_verify(gold, answer)
            if ours is None or theirs is None:
                unjudged += times
                continue
            judged += times
            wrong += times * (ours != theirs)
        return {"share": wrong / judged if judged else None, "asked": len(chosen),
                "answers": judged + unjudged, "unjudged": unjudged}  # fmt: skip


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
    shares = []
    for row in rows:
        place = {id: i for i, id in enumerate(row.ids)}
        shares.append(row.correct_P[[place[id] for id in ids]])
    place = {id: i for i, id in enumerate(first.ids)}
    clusters = tuple(first.clusters[place[id]] for id in ids)
    return Outcomes(np.array(shares), clusters, first.samples, trained)


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
