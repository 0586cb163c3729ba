"""What makes a study unable to answer: controls, seeds, contracts, verifiers (rule 1)."""

from __future__ import annotations

from functools import cache

import numpy as np

from rlvr_placebo.analysis.arms import check_comparable
from rlvr_placebo.analysis.contrasts import BASE
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.rundir import differences
from rlvr_placebo.verdict.decision import CONTROLS, LEAST_SEEDS, PROMPT, REWARD, TRAINED
from rlvr_placebo.verdict.evidence import SAMPLED, Evidence, has_evaluation
from rlvr_placebo.verdict.protocol import SAMPLES
from rlvr_placebo.verify.judge import plain_math_verify

DISAGREEMENT = 0.01  # of two verifiers, at most
UNKNOWN = 0.01  # share of an arm's answers that our verifier could not judge, at most
LOST = 0.2  # share of an arm's runs that may crash
ASKED = 1000  # different pairs of gold and answer that the second verifier is asked


def find_faults(evidence: Evidence) -> list[str]:
    """Everything that makes the study invalid for this reward, one line each."""
    found = _missing(evidence) + _unfit(evidence)
    if not found:
        found += _flat(evidence) + _unjudged(evidence) + _disputed(evidence)
    return found


def _missing(evidence: Evidence) -> list[str]:
    """Controls, seeds and runs that are not there, or are not those of the protocol."""
    protocol, lines = evidence.protocol, []
    if sorted(protocol.runs) != sorted(evidence.folder.names):
        lines.append("the study's runs are not those of the protocol")
    lacking = [role for role in TRAINED if role not in evidence.arms and role not in evidence.same]
    names = [CONTROLS[role].partition(":")[0] + f" {role}" for role in lacking]
    if not evidence.sweeps:
        names.append(f"C0 {PROMPT}")
    if names:
        lines.append(f"controls are missing: {', '.join(names)}")
    seed_of = {run["name"]: run["seed"] for run in evidence.folder.document["runs"]}
    seeds = [{seed_of[run.path.name] for run in runs} for runs in evidence.arms.values()]
    wanted = max(LEAST_SEEDS, protocol.seeds)
    few = [r for r, own in zip(evidence.arms, seeds, strict=True) if len(own) < wanted]
    if few:
        least = min(len(own) for own in seeds)
        lines.append(f"seeds: {wanted} wanted, {least} there (arms {', '.join(few)})")
    for role, runs in evidence.arms.items():
        gone = sum(run.path.name in evidence.crashed for run in runs)
        if gone > LOST * len(runs):
            lines.append(f"{gone} of {len(runs)} runs of {role} crashed")
    return lines


def _unfit(evidence: Evidence) -> list[str]:
    """Evaluations that do not allow the comparison."""
    there = [run for own in evidence.arms.values() for run in own]
    runs = [run for run in there if has_evaluation(run)]
    lost = [r.path.name for r in there if r not in runs and r.path.name not in evidence.crashed]
    if lost or not any(has_evaluation(run) for run in evidence.arms[REWARD]):
        name = lost[0] if lost else evidence.arms[REWARD][0].path.name
        return [f"a run has no evaluation at all: {name}"]
    try:
        check_comparable(runs)
    except PlaceboError as error:
        return [f"contracts differ: {error}"]
    lines, protocol = [], evidence.protocol
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
    own = evidence.first.config
    for run in runs:
        keys = differences(own, run.config)
        if other := sorted(key for key in keys if key.partition(".")[0] not in _BY_ARM):
            lines.append(f"{run.path.name}: trained otherwise ({', '.join(other)} differ)")
            break
    return lines


_BY_ARM = ("reward", "reward_name", "reward_code", "seed")  # of a configuration


def _flat(evidence: Evidence) -> list[str]:
    """A reward that never told two completions of a group apart."""
    steps = [
        r["frac_reward_zero_std"] for run in evidence.arms[REWARD] for r in run.metrics("step")
    ]
    return ["the reward was constant in every group"] if steps and min(steps) == 1 else []


def _unjudged(evidence: Evidence) -> list[str]:
    """Arms with too many answers that our verifier could not judge."""
    lines = []
    for end in filter(None, (evidence.protocol.given, evidence.protocol.fresh)):
        arms = {role: [evidence.after(run, end, SAMPLED) for run in runs]
                for role, runs in evidence.arms.items()}  # fmt: skip
        for role, found in {BASE: [evidence.before(end, SAMPLED)], **arms}.items():
            share = np.mean([f.unknown / (len(f.ids) * f.samples) for f in found])
            if share > UNKNOWN:
                lines.append(
                    f"{end}: {100 * share:.1f} % of the answers of {role} could not be judged "
                    f"({100 * UNKNOWN:g} % at most)"
                )
    return lines


def _disputed(evidence: Evidence) -> list[str]:
    """Answers on which a second verifier disagrees too often."""
    found = dispute(evidence)
    if found["share"] is None or found["share"] <= DISAGREEMENT:
        return []
    return [
        f"two verifiers disagree on {100 * found['share']:.1f} % of the answers "
        f"({100 * DISAGREEMENT:g} % at most)"
    ]


@cache
def dispute(evidence: Evidence) -> dict[str, float | int | None]:
    """How often ``math-verify``, as it comes, disagrees with our verifier.

    Returns:
        ``share`` of the answers that both could judge, ``asked`` (different pairs of gold and
        answer), ``answers`` behind them, ``unjudged`` ones by one of the two.
    """
    counts: dict[tuple[str, str, bool | None], int] = {}
    runs = [run for own in evidence.arms.values() for run in own]
    tables = [evidence.first.evaluation(0), *map(evidence.last_evaluation, runs)]
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
