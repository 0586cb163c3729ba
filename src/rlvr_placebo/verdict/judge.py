"""The verdict on a finished study: a category, its sentence, and every number behind both.

The document that :func:`judge` returns follows ``verdict.schema.json`` beside this file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.analysis.arms import answers_to, samples
from rlvr_placebo.analysis.contrasts import BASE, Contrast, Key, Outcomes, contrast, log_odds
from rlvr_placebo.analysis.coverage import coverage
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.analysis.quality import reward_quality, scored
from rlvr_placebo.analysis.switching import Answers, switching
from rlvr_placebo.core.statistics import clustered_mean, two_groups
from rlvr_placebo.verdict.decision import (
    CONTROLS,
    FORMAT,
    MAJORITY,
    MEANING,
    REWARD,
    SHUFFLE,
    Case,
    Decision,
    decide_all,
    make_case,
)
from rlvr_placebo.verdict.evidence import SAMPLED, Evidence, gather
from rlvr_placebo.verdict.faults import dispute, find_faults
from rlvr_placebo.verdict.power import needed
from rlvr_placebo.verdict.protocol import Protocol
from rlvr_placebo.verify.vote import count_votes

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("verdict.schema.json")
LADDER = (BASE, SHUFFLE, FORMAT, MAJORITY, REWARD)
LADDER_IN_WORDS = "shares depend on the order of the steps; the ladder is drawn and decides nothing"
POINTS = 100.0


def judge(folder: StudyFolder, protocol: Protocol) -> dict[str, Any]:
    """Judge every reward of a study.

    Args:
        folder: of the study.
        protocol: by which rules; written before the runs, or named afterwards.

    Returns:
        The verdict as a document; ``verdicts`` holds one entry per reward, model and variant.

    Raises:
        PlaceboError: there is nothing to judge, or something is unfinished or damaged.
    """
    evidence = gather(folder, protocol)
    for one in evidence:
        one.must_be_whole()
    faults = [find_faults(e) for e in evidence]
    outcomes = [{} if f else e.outcomes() for e, f in zip(evidence, faults, strict=True)]
    cases = [
        make_case(o, e.ends, protocol.delta / POINTS, e.same, e.informed, f)
        if o else Case(protocol.delta / POINTS, None, None, None, {}, e.same, e.informed,
                       tuple(f), e.ends)
        for e, o, f in zip(evidence, outcomes, faults, strict=True)
    ]  # fmt: skip
    decisions = decide_all(cases)
    categories: dict[str, list[str]] = {}
    for e, d in zip(evidence, decisions, strict=True):
        categories.setdefault(e.reward, []).append(str(d.category))
    return {
        "schema": SCHEMA,
        "study": folder.document["name"],
        "protocol": protocol.as_dict(),
        "protocol_hash": protocol.hash,
        "replication": [
            {"reward": reward, "genuine": own.count("genuine"), "of": len(own)}
            for reward, own in categories.items()
        ],
        "verdicts": [
            _entry(e, o, c, d)
            for e, o, c, d in zip(evidence, outcomes, cases, decisions, strict=True)
        ],
    }


def _entry(
    evidence: Evidence, outcomes: dict[Key, Outcomes], case: Case, decision: Decision
) -> dict[str, Any]:
    """Everything about one reward on one model."""
    head = {
        "model": evidence.model,
        "reward": evidence.reward,
        "variant": evidence.variant,
        "category": str(decision.category),
        "meaning": MEANING[decision.category],
        "because": decision.because,
        "faults": list(case.faults),
        "crashed": evidence.crashed,
        "is_control": list(case.same),
        "informed": case.informed,
        "exploratory": not evidence.protocol.before,
        "notes": _notes(outcomes, case),
    }
    empty = dict.fromkeys(_PARTS)
    if case.faults:
        return head | empty
    weakest = case.weakest
    seeds = evidence.protocol.seeds
    return head | {
        "gain": _points(case.gain),
        "gain_fresh": _points(case.gain_fresh),
        "difference": _points(case.difference),
        "difference_log_odds": _difference_log_odds(evidence, outcomes),
        "controls": [
            {"control": name, "what": CONTROLS[name], "benchmark": end,
             **found.scaled(POINTS)}
            for (name, end), found in case.against.items()
        ],
        "p_genuine": case.p_genuine,
        "greedy": _greedy(evidence),
        "arms": [
            _arm(evidence, outcomes, role, end)
            for end in (case.ends.given, case.ends.fresh) if end
            for role in (BASE, *evidence.arms)
        ],
        "ladder": {"note": LADDER_IN_WORDS, "steps": _ladder(evidence, outcomes)},
        "base_majority": _majority(evidence),
        "reward_quality": reward_quality(scored(evidence.arms[REWARD])),
        "coverage": _coverage(evidence),
        "switching": _switching(evidence),
        "verifiers": dispute(evidence),
        "needed": needed(weakest[1] if weakest else case.gain, case.margin, seeds)
        if case.gain else None,
    }  # fmt: skip


def _notes(outcomes: dict[Key, Outcomes], case: Case) -> list[str]:
    """What a reader of the category should know."""
    lines = []
    if not case.alike and case.ends.fresh:
        bases = [POINTS * float(np.nanmean(outcomes[BASE, e].share_S_P))
                 for e in (case.ends.given, case.ends.fresh)]  # fmt: skip
        lines.append(
            f"the untrained model solves {bases[0]:.1f} % of {case.ends.given} and {bases[1]:.1f} "
            f"% of {case.ends.fresh}: gains on the two are hard to compare in points"
        )
    return lines


_PARTS = (
    "gain", "gain_fresh", "difference", "difference_log_odds", "controls", "p_genuine", "greedy",
    "arms", "ladder", "base_majority", "reward_quality", "coverage", "switching", "verifiers",
    "needed",
)  # fmt: skip


def _points(found: Contrast | None) -> dict[str, Any] | None:
    return None if found is None else found.scaled(POINTS)


def _difference_log_odds(
    evidence: Evidence, outcomes: dict[Key, Outcomes]
) -> dict[str, Any] | None:
    """D again in log-odds, where no accuracy is 0 or 1."""
    given, fresh = evidence.protocol.given, evidence.protocol.fresh
    if not fresh:
        return None
    signs = {(REWARD, given): 1.0, (BASE, given): -1.0, (REWARD, fresh): -1.0, (BASE, fresh): 1.0}
    weights = log_odds(outcomes, signs)
    if weights is None:
        return None
    means = {key: float(np.nanmean(outcomes[key].share_S_P)) for key in signs}
    logits = {key: sign * np.log(means[key] / (1 - means[key])) for key, sign in signs.items()}
    found = contrast({key: outcomes[key] for key in signs}, weights)
    # By the delta method a seed's log-odds lie on the tangent at the arm's mean.
    tangent = sum(logits[k] - weights[k] * means[k] for k in signs if k[0] == REWARD)
    fixed = sum(logits[key] for key in signs if key[0] == BASE)
    by_arm = (found.by_arm[0] + tangent,)
    return Contrast(
        float(sum(logits.values())), found.stderr, found.df, found.seeds, found.problems, found.n,
        found.clusters, by_arm, float(fixed),
    ).scaled(1.0)  # fmt: skip


def _greedy(evidence: Evidence) -> list[dict[str, Any]] | None:
    """The gain and the contrasts with trained controls once more, in greedy decoding."""
    contracts = evidence.first.config["contracts"]
    if any(all(d["temperature"] != 0 for d in c["decodings"]) for c in contracts):
        return None
    outcomes = evidence.outcomes(0.0)
    ends = evidence.ends
    case = make_case(outcomes, replace(ends, prompts=None, prompts_at_1=None), 0.0, evidence.same)
    gains = [(BASE, ends.given, case.gain), (BASE, ends.fresh, case.gain_fresh)]
    rows = [*gains, *((name, end, found) for (name, end), found in case.against.items())]
    return [
        {"over": name, "benchmark": end, **found.scaled(POINTS)}
        for name, end, found in rows
        if found is not None
    ]


def _arm(
    evidence: Evidence, outcomes: dict[Key, Outcomes], role: str, given: str
) -> dict[str, Any]:
    """Accuracy of an arm on a benchmark: by seed, mean, median, and how many seeds collapsed."""
    base = float(np.nanmean(outcomes[BASE, given].share_S_P))
    own = outcomes[role, given]
    by_seed = np.nanmean(own.share_S_P, axis=1)
    problems = clustered_mean(np.nanmean(own.share_S_P, axis=0), own.clusters, "cluster")
    spread = None
    if role not in (BASE, REWARD):
        other = np.nanmean(outcomes[REWARD, given].share_S_P, axis=1)
        spread = two_groups(by_seed.tolist(), other.tolist())
    names = [run.path.name for run in evidence.arms.get(role, [])]
    entries = {run["name"]: run for run in evidence.folder.document["runs"]}
    return {
        "arm": role,
        "benchmark": given,
        "reward": entries[names[0]]["reward"] if names else None,
        "seeds": [entries[name]["seed"] for name in names],
        "accuracy_by_seed": (POINTS * by_seed).tolist(),
        "mean": POINTS * float(by_seed.mean()),
        "stderr_problems": POINTS * problems.stderr if problems.stderr is not None else None,
        "median": POINTS * float(np.median(by_seed)),
        "collapsed": float(np.mean(by_seed < base / 2)),
        "against_reward": spread,
    }


def _ladder(evidence: Evidence, outcomes: dict[Key, Outcomes]) -> list[dict[str, Any]]:
    """The rungs that are there, each with what it adds to the one before."""
    given = evidence.protocol.given
    there = [arm for arm in LADDER if (arm, given) in outcomes]
    rungs = []
    for place, arm in enumerate(there):
        own = outcomes[arm, given]
        step = None
        if place:
            weights = {(arm, given): 1.0, (there[place - 1], given): -1.0}
            step = contrast(outcomes, weights).scaled(POINTS)
        mean = POINTS * float(np.nanmean(own.share_S_P))
        rungs.append({"arm": arm, "accuracy": mean, "step": step})
    return rungs


def _majority(evidence: Evidence) -> dict[str, Any]:
    """Accuracy of the untrained model's most frequent answer to each problem (maj@n)."""
    table = evidence.first.evaluation(0)
    wanted = ("cluster", "extracted", "gold")
    by_problem = answers_to(table, evidence.protocol.given, SAMPLED, wanted)
    right = []
    for rows in by_problem.values():
        golds = [rows[0]["gold"]] if rows[0]["gold"] is not None else []
        votes = count_votes([row["extracted"] for row in rows], golds).votes
        right.append(float(bool(votes) and votes[0].correct is True))
    clusters = [rows[0]["cluster"] for rows in by_problem.values()]
    found = clustered_mean(right, clusters, "cluster")
    return {"samples": max(map(len, by_problem.values())), **found.as_dict()}


def _coverage(evidence: Evidence) -> dict[str, Any] | None:
    """Whether the reward widened what the model can solve."""
    if not evidence.covered:
        return None
    given = evidence.protocol.given
    before, after = (
        [samples(run.evaluation(0), given, SAMPLED) for run in evidence.covered[arm]]
        for arm in (BASE, REWARD)
    )
    return coverage(before[0], after, evidence.protocol.delta / POINTS)


def _switching(evidence: Evidence) -> list[dict[str, Any]]:
    """Strategies before and after, in greedy decoding and at T = 1."""
    given = evidence.protocol.given
    runs = evidence.arms[REWARD]
    contract = next(c for c in evidence.first.config["contracts"] if c["benchmark"] == given)
    found = []
    for temperature in [d["temperature"] for d in contract["decodings"]]:
        before = _answers(evidence.first.evaluation(0), given, temperature)
        after = [_answers(evidence.last_evaluation(r), given, temperature) for r in runs]
        pairs = [(before, answers) for answers in after]
        found.append({"temperature": temperature, **switching(before, pairs)})
    return found


def _answers(table: pa.Table, benchmark: str, temperature: float) -> Answers:
    """Strategy and correctness of every sample, by problem in the order of their ids."""
    by_problem = answers_to(table, benchmark, temperature, ("cluster", "code", "correct"))
    groups = [by_problem[id] for id in sorted(by_problem)]
    return Answers(
        np.array([[row["code"] for row in group] for group in groups], dtype=bool),
        np.array([[row["correct"] is True for row in group] for group in groups], dtype=bool),
        tuple(group[0]["cluster"] for group in groups),
    )
