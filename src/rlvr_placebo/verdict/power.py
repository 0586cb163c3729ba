"""What an undecided study would have needed."""

from __future__ import annotations

import math
from typing import Any

from rlvr_placebo.analysis.contrasts import LEVEL, Contrast

POWER = 0.8
MOST = 1000  # seeds beyond which more problems are the better advice


def smallest_effect(seeds: int) -> float:
    """Smallest difference of two arms that ``seeds`` against ``seeds`` show, in SDs over seeds.

    With power 0.8 in a two-sided t test at 0.05, by the noncentral t distribution. Example: 2.0 for
    5 seeds. Problems are taken as known exactly.
    """
    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    df = 2 * (seeds - 1)
    quantile = float(stdtrit(df, 1 - LEVEL / 2))

    def missing(effect: float) -> float:
        away = effect * math.sqrt(seeds / 2)
        return float(1 - nctdtr(df, away, quantile) + nctdtr(df, away, -quantile)) - POWER

    about = (quantile + float(stdtrit(df, POWER))) * math.sqrt(2 / seeds)
    return float(brentq(missing, 0.5 * about, 1.5 * about))


def detectable(stderr: float, df: float) -> float:
    """What a one-sided test at 0.05 shows with power 0.8: ``(t₀.₉₅ + t₀.₈) · se``."""
    from scipy.special import stdtrit

    return (float(stdtrit(df, 1 - LEVEL)) + power_quantile(df)) * stderr


def power_quantile(df: float) -> float:
    """How many standard errors above a bound an effect must lie to pass it with power 0.8."""
    from scipy.special import stdtrit

    return float(stdtrit(df, POWER))


def needed(found: Contrast, margin: float, seeds: int) -> dict[str, Any]:
    """Smallest effect that would be called genuine by a contrast, and seeds per arm for δ + 1.

    An effect must be surely above 0 *and* estimated at δ or more, each with power 0.8: no number of
    seeds shows an effect of δ itself in more than half of the studies.

    Args:
        found: the contrast.
        margin: δ, as a share of one.
        seeds: per arm, now.

    Returns:
        ``smallest_effect`` in points, ``seeds`` per arm for an effect ``of`` δ + 1 points (None
        where no number of seeds is enough, because the error over problems alone is too large).
    """
    from scipy.special import ndtri

    def smallest(stderr: float, df: float) -> float:
        return max(detectable(stderr, df), margin + float(ndtri(POWER)) * stderr)

    between, over = found.seeds**2 * seeds, found.problems**2
    arms = max(1, len(found.by_arm))
    wanted = None
    for count in range(2, MOST + 1):
        variance = between / count + over
        # Degrees of freedom as now: those of the seeds grow, those of the problems stay.
        df = variance**2 / (
            (between / count) ** 2 / (arms * (count - 1)) + over**2 / max(1, found.clusters - 1)
        )
        if smallest(math.sqrt(variance), df) <= margin + 0.01:
            wanted = count
            break
    return {
        "smallest_effect": 100 * smallest(found.stderr, found.df),
        "of": 100 * margin + 1,
        "seeds": wanted,
        "seeds_now": seeds,
    }
