"""What a researcher should hear before trusting a run: one line each, said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Finish, Group
from rlvr_placebo.evaluate.contract import PRECISIONS
from rlvr_placebo.learner.advantages import differ
from rlvr_placebo.learner.batch import rewards_of
from rlvr_placebo.rollout.protocol import check_length
from rlvr_placebo.text.duplicates import Shared
from rlvr_placebo.train.config import RunConfig

TRUNCATION = 0.20
WINDOW = 10


def check_fit(
    config: RunConfig, pool: int, prompts: Sequence[Sequence[int]], max_positions: int
) -> None:
    """Refuse what cannot work, once the model and the problems are known.

    Raises:
        PlaceboError: a prompt and its completion exceed the model's positions, a prompt is empty,
            or the pool is smaller than a step.
    """
    check_pool(config, pool)
    check_length(prompts, max(config.rollout.max_tokens, config.evaluation.max_tokens),
                 max_positions)  # fmt: skip


def check_pool(config: RunConfig, problems: int) -> None:
    """Refuse a pool smaller than a step, unless a few problems were asked for."""
    if problems < config.rollout.problems and not config.pool_size:
        raise PlaceboError(
            f"pool {config.pool}: {problems} problems, fewer than the {config.rollout.problems} of "
            "a step; lower rollout.problems, or set pool_size to meet them again and again"
        )


def static_warnings(
    config: RunConfig, trains_on_test: Sequence[str], shared: Mapping[str, Shared]
) -> list[str]:
    """What is known before anything is generated.

    Args:
        config: the run.
        trains_on_test: benchmarks some of whose problems are trained on.
        shared: of every other benchmark, the problems that the pool has too.
    """
    warnings = []
    clips = (config.loss.clip_low, config.loss.clip_high)
    if config.optimizer.updates == 1 and clips != (None, None):
        warnings.append(
            "clipping cannot bind: with one update per rollout every ratio is 1; "
            "raise optimizer.minibatches or epochs, or set clip_low=off clip_high=off"
        )
    if config.precision != PRECISIONS[0] and clips != (None, None) and config.loss.tis_cap is None:
        warnings.append(
            f"in {config.precision} engine and learner differ by rounding, which moves ratios out "
            "of the clips' band by itself; set loss.tis_cap=2 to take ratios to the learner's own"
        )
    if trains_on_test:
        warnings.append(
            f"trains on the test problems of {', '.join(trains_on_test)}: accuracy there says "
            "nothing about other problems"
        )
    for benchmark, found in shared.items():
        if found.exact or found.near:
            warnings.append(
                f"{found.exact + found.near} problems of {benchmark} are in the training pool too "
                f"({found.exact} word for word, {found.near} nearly), e.g. {found.example!r}"
            )
    return warnings


def rollout_warnings(config: RunConfig, groups: Sequence[Group]) -> list[str]:
    """What the first step's completions tell, before the first update."""
    warnings = []
    rewards = [r for g in groups for r in rewards_of(g)]
    known = {r for r in rewards if r is not None}
    unknown = sum(r is None for r in rewards)
    flat = sum(not differ(rewards_of(g)) for g in groups)
    if len(known) <= 1:
        warnings.append(f"constant reward: all {len(rewards)} completions got {_one(known)}; "
                        "nothing can be learnt from it")  # fmt: skip
    elif flat > len(groups) / 2:
        warnings.append(f"{flat} of {len(groups)} groups have no variance in reward: they train "
                        "nothing")  # fmt: skip
    if unknown:
        warnings.append(f"{unknown} of {len(rewards)} rewards are unknown; they get advantage 0")
    completions = [r.completion for g in groups for r in g.rollouts]
    cut = sum(c.finish is Finish.LENGTH for c in completions) / len(completions)
    if cut > TRUNCATION:
        warnings.append(
            f"truncation: {cut:.0%} of completions reach {config.rollout.max_tokens} tokens; "
            "raise rollout.max_tokens"
        )
    return warnings


def _one(values: set[float]) -> str:
    return f"{next(iter(values)):g}" if values else "no known reward"


def window_warning(flat_shares: Sequence[float]) -> list[str]:
    """Say loudly, when it has just become true, that a whole window of steps had no signal.

    Args:
        flat_shares: of every step so far, the share of groups without variance in reward.
    """
    full = len(flat_shares) >= WINDOW and all(share == 1.0 for share in flat_shares[-WINDOW:])
    before = len(flat_shares) > WINDOW and flat_shares[-WINDOW - 1] == 1.0
    if full and not before:
        return [f"no reward signal for {WINDOW} steps: every group's rewards are equal"]
    return []
