"""From outcomes to findings: every effect by its rule, every claim by its effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr_placebo.analysis.contrasts import Contrast, Key, Outcomes, contrast
from rlvr_placebo.claims.claim import Arm, Claim, Effect, Finding, Reading, Rule
from rlvr_placebo.verdict.power import detectable, power_quantile

POINTS = 100.0
Look = Callable[[Arm, Reading], Outcomes]
Flat = Callable[[Arm], float | None]


@dataclass(frozen=True)
class Found:
    """What was found of one effect; numbers are points per hundred.

    Attributes:
        effect: which.
        finding: by its rule.
        contrast: the estimate.
        detectable: what a one-sided test at 0.05 would have shown with power 0.8.
        shows_from: what the rule would have shown with power 0.8: it asks for δ as well.
        flat: largest share of groups without any variance of rewards, over the trained arms.
    """

    effect: Effect
    finding: Finding
    contrast: Contrast
    detectable: float
    shows_from: float
    flat: float | None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "effect": self.effect.says,
            "rule": str(self.effect.rule),
            "margin": self.effect.margin,
            "finding": str(self.finding),
            "detectable": self.detectable,
            "shows_from": self.shows_from,
            "flat": self.flat,
            **self.contrast.scaled(POINTS),
        }


def find(effect: Effect, look: Look, flat: Flat = lambda arm: None) -> Found:
    """Estimate one effect and apply its rule.

    Args:
        effect: what to estimate.
        look: from an arm and a reading to its outcomes.
        flat: from an arm to the share of its groups whose rewards do not vary.

    Raises:
        ValueError: it cannot be estimated (one seed, one cluster, nothing judged).
    """
    outcomes: dict[Key, Outcomes] = {}
    weights: dict[Key, float] = {}
    for weight, arm, reading in effect.terms:
        key = (f"untrained {arm}" if reading.untrained else str(arm), repr(reading))
        outcomes[key] = look(arm, reading)
        weights[key] = weights.get(key, 0.0) + weight
    estimate = contrast(outcomes, weights)
    shares = [share for arm in effect.trained if (share := flat(arm)) is not None]
    idle = bool(shares) and max(shares) == 1.0 and not effect.idle
    by_rule = apply(effect.rule, estimate, effect.margin / POINTS)
    seen = POINTS * detectable(estimate.stderr, estimate.df)
    asked = effect.margin + POINTS * estimate.stderr * power_quantile(estimate.df)
    return Found(
        effect, Finding.UNTESTED if idle else by_rule, estimate, seen,
        max(seen, asked) if effect.rule in (Rule.RISES, Rule.FALLS) else seen,
        max(shares, default=None),
    )  # fmt: skip


def apply(rule: Rule, found: Contrast, margin: float) -> Finding:
    """The finding of a rule (:data:`~rlvr_placebo.claims.claim.RULES`) on an estimate.

    Args:
        rule: which.
        found: the estimate, a share of one.
        margin: δ, likewise.
    """
    risen = found.above and found.value >= margin
    fallen = found.below and found.value <= -margin
    shown, refuted = {
        Rule.RISES: (risen, found.high < margin),
        Rule.FALLS: (fallen, found.low > -margin),
        Rule.NO_RISE: (found.high < margin, risen),
        Rule.STAYS: (found.within(margin), risen or fallen),
    }[rule]
    return Finding.SHOWN if shown else Finding.NOT_SEEN if refuted else Finding.UNDECIDED


def conclude(findings: Sequence[Finding]) -> Finding:
    """The finding of a claim: all effects shown, or one not seen, or not tested, or neither."""
    for one in (Finding.NOT_SEEN, Finding.UNTESTED):
        if one in findings:
            return one
    whole = all(finding is Finding.SHOWN for finding in findings)
    return Finding.SHOWN if whole else Finding.UNDECIDED


def decide(claim: Claim, look: Look, flat: Flat = lambda arm: None) -> dict[str, Any]:
    """A claim's finding with every effect behind it, ready for JSON.

    Raises:
        ValueError: an effect cannot be estimated.
    """
    found = [find(effect, look, flat) for effect in claim.effects]
    finding = conclude([f.finding for f in found])
    open_ = [f for f in found if f.finding is Finding.UNDECIDED]
    return {
        **_head(claim),
        "finding": str(finding),
        "detectable": max(f.detectable for f in open_ or found),
        "shows_from": max(f.shows_from for f in open_ or found),
        "effects": [f.as_dict() for f in found],
    }


def undecidable(claim: Claim, reason: str) -> dict[str, Any]:
    """The entry of a claim that cannot be estimated, and why."""
    finding = f"{Finding.UNDECIDED}: cannot be estimated ({reason})"
    return {**_head(claim), "finding": finding, "effects": []}


def _head(claim: Claim) -> dict[str, Any]:
    return {
        "id": claim.id,
        "digest": claim.digest,
        "says": claim.says,
        "source": claim.source,
        "study": claim.study,
    }
