"""From problems to scored groups: sample, have the real verifier judge, reward; and describe."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from rlvr_placebo.behaviours.detectors import label
from rlvr_placebo.core.records import Completion, Finish, Group, Problem, Rollout, Score, Status
from rlvr_placebo.core.seeds import generator_for, seed_for
from rlvr_placebo.learner.advantages import differ
from rlvr_placebo.learner.batch import rewards_of
from rlvr_placebo.rollout.protocol import Sampling
from rlvr_placebo.train.trial import Trial
from rlvr_placebo.verify.meanwhile import Meanwhile


def generate(trial: Trial, problems: list[Problem], step: int) -> list[Group]:
    """Sample G completions of every problem and have the real verifier judge them."""
    config = trial.config.rollout
    trial.engine.load_weights(trial.learner.model.state_dict(), trial.learner.updates_done)
    met: Counter[str] = Counter()
    samples_P_G = []
    for problem in problems:  # a problem met twice in one step goes on counting its samples
        first = met[problem.id] * config.samples
        samples_P_G.append(range(first, first + config.samples))
        met[problem.id] += 1
    seeds_P_G = [
        [seed_for(trial.config.seed, step, p.id, i, "rollout") for i in samples]
        for p, samples in zip(problems, samples_P_G, strict=True)
    ]
    prompts = [trial.prompts[p.id] for p in problems]
    sampling = Sampling(config.temperature, 1.0, config.max_tokens, trial.stops)
    with Meanwhile(trial.config.evaluation.extraction) as verified:

        def finished(p: int, i: int, completion: Completion) -> None:
            verified.add((p, i), completion.text, problems[p].golds)

        completions_P_G = trial.engine.generate(prompts, sampling, seeds_P_G, finished)
        return [
            Group(problem, prompts[p], tuple(
                Rollout(sample, completion, verified[p, i])
                for i, (sample, completion) in enumerate(
                    zip(samples_P_G[p], completions_P_G[p], strict=True)
                )
            ))
            for p, problem in enumerate(problems)
        ]  # fmt: skip


def reward(trial: Trial, groups: list[Group], step: int) -> list[Group]:
    """Score every group once; its generator is seeded by (run seed, step, problem)."""
    scored = []
    for group in groups:
        first = group.rollouts[0].sample
        rng = generator_for(trial.config.seed, step, group.problem.id, first, "reward")
        scores = [_known(s) for s in trial.reward(group, rng)]
        rollouts = zip(group.rollouts, scores, strict=True)
        scored.append(replace(group, rollouts=tuple(replace(r, score=s) for r, s in rollouts)))
    return scored


def _known(score: Score) -> Score:
    """A reward that is not a finite number is unknown."""
    if score.reward is None or math.isfinite(score.reward):
        return score
    return replace(score, reward=None, status=Status.ERROR)


def describe(groups: list[Group]) -> dict[str, Any]:
    """Metrics of a step's completions, under the names TRL's users know."""
    rollouts = [r for g in groups for r in g.rollouts]
    completions = [r.completion for r in rollouts]
    per_group = [[r for r in rewards_of(g) if r is not None] for g in groups]
    known = [r for group in per_group for r in group]
    judged = [r.verification.correct for r in rollouts if r.verification.correct is not None]
    labels = [label(c.text) for c in completions]
    entropies = np.concatenate([c.entropies[c.loss_mask] for c in completions])
    firsts = [float(c.entropies[0]) for c in completions if len(c)]
    return {
        "entropy": float(entropies.mean(dtype=np.float64)) if len(entropies) else None,
        "first_token/entropy": _mean(firsts),
        "reward": _mean(known),
        "reward_std": _mean([float(np.std(g, ddof=1)) for g in per_group if len(g) > 1]),
        "frac_reward_zero_std": share_flat(groups),
        "rewards_unknown": len(rollouts) - len(known),
        "accuracy": _mean([float(c) for c in judged]),
        "accuracy_unknown": len(rollouts) - len(judged),
        "completions/mean_length": _mean([float(len(c)) for c in completions]),
        "completions/clipped_ratio": _mean([float(c.finish is Finish.LENGTH) for c in completions]),
        **{f"behaviour/{k}": _mean([float(row[k]) for row in labels]) for k in labels[0]},
    }


def share_flat(groups: list[Group]) -> float:
    """Share of groups whose known rewards are all equal: they train nothing."""
    return float(np.mean([not differ(rewards_of(g)) for g in groups]))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
