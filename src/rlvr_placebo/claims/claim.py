"""Claims as data: a sentence, the effects it rests on, and the rule that decides them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from rlvr_placebo.core.files import digest

POINTS = 3.0  # what matters, in points per hundred; the verdict's δ


class Rule(StrEnum):
    """When an effect E, in points, with its one-sided 95 % bounds L and U, is there."""

    RISES = "rises"
    FALLS = "falls"
    NO_RISE = "does not rise"
    STAYS = "stays"


RULES: Mapping[Rule, str] = {
    Rule.RISES: "shown: surely above 0 and E ≥ δ; not seen: U < δ",
    Rule.FALLS: "shown: surely below 0 and E ≤ −δ; not seen: L > −δ",
    Rule.NO_RISE: "shown: U < δ; not seen: surely above 0 and E ≥ δ",
    Rule.STAYS: "shown: −δ < L and U < δ; not seen: surely not 0 and |E| ≥ δ",
}


class Finding(StrEnum):
    """What a study says of an effect, or of a claim."""

    SHOWN = "shown"
    NOT_SEEN = "not seen"
    UNDECIDED = "undecided at this scale"
    UNTESTED = "not tested: the reward never varied"


@dataclass(frozen=True)
class Arm:
    """The runs of a study with one model, reward and variant.

    Example: ``Arm("pocket/code-prior", "random(0.5)")``. The untrained model is that of any arm,
    asked for by :attr:`Reading.untrained`.
    """

    model: str
    reward: str
    variant: str = "plain"

    def __str__(self) -> str:
        """As tables write it."""
        variant = "" if self.variant == "plain" else f" [{self.variant}]"
        return f"{self.reward}{variant} on {self.model.removeprefix('pocket/')}"


class Span(StrEnum):
    """Between which evaluations of a run something changes.

    A peak is the best evaluation of the other seeds' mean, on one half of the problems; it is read
    on the other half (the best of many noisy values, read where it was chosen, is too high).
    """

    WHOLE = "whole"
    TO_PEAK = "to its peak"
    SINCE_PEAK = "since its peak"
    LATE = "in the second half"


@dataclass(frozen=True)
class Reading:
    """What is read from a run, problem by problem, in shares of one.

    Attributes:
        measure: a mark of evaluated samples: ``correct``, ``code``, ``boxed``, … or a cell of
            strategies before and after, e.g. ``language_code``.
        benchmark: on which.
        temperature: of decoding.
        change: the last evaluation less the untrained model's; False: the last one itself.
        untrained: the untrained model instead of the trained one.
        span: the part of training that counts.
        template: under this prompt less under the run's own; measured beside the runs.
    """

    measure: str = "correct"
    benchmark: str = "pocket-500"
    temperature: float = 1.0
    change: bool = True
    untrained: bool = False
    span: Span = Span.WHOLE
    template: str = ""


@dataclass(frozen=True)
class Effect:
    """A weighted sum of what is read from arms, and the rule that decides it.

    Attributes:
        says: the effect, as tables name it.
        terms: (weight, arm, reading); means over seeds and problems are what is summed.
        rule: what it must do.
        margin: δ, in points per hundred.
        idle: a reward that never varies is what the effect is about; else it is not tested by one.
    """

    says: str
    terms: tuple[tuple[float, Arm, Reading], ...]
    rule: Rule = Rule.RISES
    margin: float = POINTS
    idle: bool = False

    @property
    def trained(self) -> set[Arm]:
        """The arms whose training it is about."""
        return {arm for _, arm, reading in self.terms if not reading.untrained}


@dataclass(frozen=True)
class Claim:
    """A sentence that somebody may believe, and how it is decided.

    It is *shown* where every effect is, *not seen* where one is not seen, *not tested* where the
    reward of one never varied, and else undecided.

    Attributes:
        id: by which the command line knows it.
        says: one sentence.
        source: where it is claimed.
        study: name of the study file whose runs decide it.
        effects: that it rests on.
        quick: whether it is among those of a first look.
    """

    id: str
    says: str
    source: str
    study: str
    effects: tuple[Effect, ...]
    quick: bool = False

    @property
    def digest(self) -> str:
        """Hash of what decides it: what is found of it belongs to these effects and rules."""
        effects = [repr(replace(effect, says="")) for effect in self.effects]
        return digest([self.id, self.study, effects])
