"""How often the verdict is wrong: what it says of simulated studies whose truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr_placebo.analysis.contrasts import BASE, Contrast, Key
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.verdict.decision import REWARD, Case, Category, decide
from rlvr_placebo.verdict.simulation import FRESH, GIVEN, World, simulated_case

SEEDS = (5, 8, 10, 20)  # at which coverage is counted


@dataclass(frozen=True)
class Count:
    """How often something happened, of how many, with its exact one-sided 95 % upper bound."""

    times: int
    of: int

    @property
    def share(self) -> float:
        """The share itself."""
        return self.times / self.of

    @property
    def upper(self) -> float:
        """Clopper and Pearson 1934."""
        from scipy.special import betaincinv

        return 1.0 if self.times == self.of else float(
            betaincinv(self.times + 1, self.of - self.times, 0.95)
        )  # fmt: skip

    @property
    def lower(self) -> float:
        """Likewise below."""
        from scipy.special import betaincinv

        return 0.0 if not self.times else float(
            betaincinv(self.times, self.of - self.times + 1, 0.05)
        )  # fmt: skip

    def as_dict(self) -> dict[str, float | int]:
        """Ready for JSON."""
        return {"times": self.times, "of": self.of, "share": self.share,
                "lower95": self.lower, "upper95": self.upper}  # fmt: skip


def run_world(name: str, world: World, studies: range) -> dict[str, Any]:
    """Draw studies from a world: how often each category came out, and each interval covered.

    Args:
        name: of the world; with the number of a study it seeds it.
        world: the truth.
        studies: their numbers.

    Returns:
        ``categories`` and ``covered`` (95 % intervals, by contrast): times each; ``studies``.
    """
    categories: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for number in studies:
        case = simulated_case(world, generator_for(0, number, name, 0, "calibration"))
        categories[decide(case).category] += 1
        for what, (found, truth) in _contrasts(case, world).items():
            low, high = found.interval(0.95)
            covered[what] += low <= truth <= high
    return {"categories": dict(categories), "covered": dict(covered), "studies": len(studies)}


def add(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of several shares of a world's studies together."""
    total: dict[str, Any] = {"studies": sum(c["studies"] for c in counts)}
    for key in ("categories", "covered"):
        total[key] = dict(sum((Counter(c[key]) for c in counts), Counter()))
    return total


def false_genuine(counts: Mapping[str, Any]) -> Count:
    """How often studies of a world were called genuine."""
    return Count(counts["categories"].get(Category.GENUINE, 0), counts["studies"])


def _contrasts(case: Case, world: World) -> dict[str, tuple[Contrast, float]]:
    """The contrasts of a case, each with its truth."""
    assert case.gain is not None
    assert case.difference is not None
    gain = {(REWARD, GIVEN): 1.0, (BASE, GIVEN): -1.0}
    turned = {(REWARD, FRESH): -1.0, (BASE, FRESH): 1.0}
    found = {
        "gain": (case.gain, world.truth(gain)),
        "difference": (case.difference, world.truth(gain | turned)),
    }
    for (control, end), c in case.against.items():
        other = control if control in world.gains else BASE
        weights: dict[Key, float] = {(REWARD, end): 1.0, (other, end): -1.0}
        found[f"over {control} on {end}"] = (c, world.truth(weights))
    return found
