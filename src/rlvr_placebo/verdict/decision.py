"""The decision of a verdict: one category for one reward on one model, by rules written before.

The rules, their order and their reasons stand in docs/verdict.md; here they are code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from rlvr_placebo.analysis.contrasts import BASE, LEVEL, Contrast, Key, Outcomes, contrast

REWARD = "reward"
PROMPT, PROMPT_AT_1 = "prompt", "prompt at T = 1"
SHUFFLE, FORMAT, PERMUTED, MAJORITY = "shuffle", "format", "permuted_gold", "majority_vote"
CONTROLS: Mapping[str, str] = {
    PROMPT: "C0: the untrained model at its best prompt and temperature",
    PROMPT_AT_1: "C0 at T = 1",
    SHUFFLE: "C1: the reward's own scores, shuffled within each group",
    FORMAT: "C2: any answer in the format that is read",
    PERMUTED: "C3: the gold answers of other problems",
    MAJORITY: "C4: the untrained model's most frequent answer",
}
TRAINED = (SHUFFLE, FORMAT, PERMUTED, MAJORITY)
LEAST_SEEDS = 5
ALIKE = 0.05  # between the untrained model's accuracies on B and B′, at most


class Category(StrEnum):
    """What a verdict says."""

    INVALID = "invalid"
    HARMFUL = "harmful"
    INERT = "inert"
    UNDERPOWERED = "underpowered"
    CONTAMINATED = "contaminated"
    GENUINE = "genuine"
    FORMAT = "format"
    ELICITED = "elicited"


MEANING: Mapping[Category, str] = {
    Category.INVALID: "the study cannot answer",
    Category.HARMFUL: "training with this reward lowers accuracy",
    Category.INERT: "training with this reward changes nothing that matters",
    Category.UNDERPOWERED: "too few seeds or problems to tell",
    Category.CONTAMINATED: "the gain is on the given benchmark only",
    Category.GENUINE: "the information in the reward added to this model beyond every control",
    Category.FORMAT: "no more than what paying for the format, or a better prompt, gives",
    Category.ELICITED: "no more than what a reward without that information brings out",
}


@dataclass(frozen=True)
class Ends:
    """The end points of a verdict, by their keys among the outcomes.

    Attributes:
        given: the benchmark B.
        fresh: the benchmark B′; None where there is none.
        prompts: the development set under each model's best prompt and temperature; None where no
            prompts were tried.
        prompts_at_1: the same at T = 1.
    """

    given: str
    fresh: str | None = None
    prompts: str | None = None
    prompts_at_1: str | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """One reward on one model, with everything that its verdict rests on.

    Attributes:
        margin: δ, as a share of one.
        gain: Γ on B.
        gain_fresh: Γ on B′.
        difference: D = Γ(B) − Γ(B′).
        against: Δ of every control on every benchmark, by (control, benchmark).
        same: controls that this reward itself is.
        informed: whether the reward uses information from outside the model.
        faults: what makes the study invalid, one line each.
        ends: the benchmarks.
        alike: whether the untrained model is about as good on B′ as on B.
    """

    margin: float
    gain: Contrast | None
    gain_fresh: Contrast | None
    difference: Contrast | None
    against: Mapping[Key, Contrast]
    same: tuple[str, ...]
    informed: bool
    faults: tuple[str, ...]
    ends: Ends
    alike: bool = True

    @property
    def beaten(self) -> dict[Key, Contrast]:
        """What *genuine* must be above: every control, and the untrained model on B and B′."""
        ends = (self.ends.given, self.ends.fresh)
        own = {(BASE, e): c for e, c in zip(ends, (self.gain, self.gain_fresh), strict=True)
               if e and c}  # fmt: skip
        return {**own, **self.against}

    @property
    def weakest(self) -> tuple[Key, Contrast] | None:
        """The contrast that *genuine* fails by, if it fails: the least sure, else the least."""
        failing = {k: c for k, c in self.beaten.items() if not c.above} or self.beaten
        return min(failing.items(), key=lambda item: item[1].low, default=None)

    @property
    def p_genuine(self) -> float:
        """P of "not beyond every control": the largest over them (Berger 1982)."""
        if self.same or not self.against:
            return 1.0
        return max(c.p_above for c in self.beaten.values())


@dataclass(frozen=True)
class Decision:
    """A category and the sentence that justifies it."""

    category: Category
    because: str


def make_case(
    outcomes: Mapping[Key, Outcomes],
    ends: Ends,
    margin: float,
    same: Sequence[str] = (),
    informed: bool = True,
    faults: Sequence[str] = (),
) -> Case:
    """Estimate everything that a verdict needs.

    Args:
        outcomes: of the arms :data:`REWARD`, :data:`BASE` and the trained controls on B and B′, and
            of the reward and the base on the prompts' end points.
        ends: the keys of the end points.
        margin: δ, as a share of one.
        same: controls that the reward itself is: no contrast with them is made.
        informed: whether the reward uses information from outside the model.
        faults: what was found already.
    """
    found = list(faults)

    # Where prompts are tried no control is measured: they lend the spread they have on B.
    lent = {(arm, end): outcomes[arm, ends.given] for end in (ends.prompts, ends.prompts_at_1)
            for arm in TRAINED if end and (arm, ends.given) in outcomes}  # fmt: skip

    def estimate(weights: Mapping[Key, float]) -> Contrast | None:
        try:
            return contrast({**lent, **outcomes}, weights)
        except ValueError as error:
            if (line := f"cannot be estimated: {error}") not in found:
                found.append(line)
            return None

    def over(other: str, end: str) -> dict[Key, float]:
        return {(REWARD, end): 1.0, (other, end): -1.0}

    gain = estimate(over(BASE, ends.given))
    gain_fresh = estimate(over(BASE, ends.fresh)) if ends.fresh else None
    difference = None
    if ends.fresh:
        turned = {key: -weight for key, weight in over(BASE, ends.fresh).items()}
        difference = estimate(over(BASE, ends.given) | turned)
    wanted = [(arm, end) for arm in TRAINED for end in (ends.given, ends.fresh) if end]
    pairs = {(a, e): over(a, e) for a, e in wanted if a not in same and (a, e) in outcomes}
    if ends.prompts:
        pairs[PROMPT, ends.prompts] = over(BASE, ends.prompts)
    if ends.prompts_at_1:
        pairs[PROMPT_AT_1, ends.prompts_at_1] = over(BASE, ends.prompts_at_1)
    against = {key: c for key, w in pairs.items() if (c := estimate(w)) is not None}
    both = [outcomes[BASE, end] for end in (ends.given, ends.fresh) if end]
    bases = [float(np.nanmean(o.share_S_P)) for o in both]
    return Case(
        margin, gain, gain_fresh, difference, against, tuple(same), informed, tuple(found), ends,
        max(bases) - min(bases) <= ALIKE,
    )  # fmt: skip


def decide(case: Case, adjusted: bool = True) -> Decision:
    """The category, by the rules in their order.

    Args:
        case: the estimates.
        adjusted: whether :attr:`Case.p_genuine` survives Holm's correction over the study.
    """
    gain = case.gain
    if case.faults or gain is None:
        return Decision(Category.INVALID, "; ".join(case.faults))
    said = f"gain on {case.ends.given} {spell(gain)}"
    if gain.below:
        return Decision(Category.HARMFUL, f"{said}: surely below 0")
    if gain.within(case.margin):
        return Decision(Category.INERT, f"{said}: equivalent to 0 (± {_points(case.margin)})")
    if not gain.above:
        return Decision(
            Category.UNDERPOWERED, f"{said}: neither surely above 0 nor equivalent to it"
        )
    if line := _contaminated(case):
        return Decision(Category.CONTAMINATED, f"{said}; {line}")
    short = _short(case)
    if not short and adjusted and case.informed and case.ends.fresh:
        return Decision(Category.GENUINE, f"{said}; beyond every control, least {_least(case)}")
    if line := _no_more_than(case, (FORMAT, PROMPT_AT_1)):
        return Decision(Category.FORMAT, f"{said}; {line}")
    if line := _no_more_than(case, (SHUFFLE, PERMUTED, MAJORITY, PROMPT)):
        return Decision(Category.ELICITED, f"{said}; {line}")
    if not short and not case.informed:
        line = "beyond every control, but it uses no information from outside the model"
        return Decision(Category.ELICITED, f"{said}; {line}")
    why = short or (_NO_FRESH if not case.ends.fresh else _CORRECTED)
    return Decision(Category.UNDERPOWERED, f"{said}; {why}")


_NO_FRESH = "beyond every control, but without a fresh benchmark it cannot be called genuine"
_CORRECTED = "beyond every control, but not when corrected for the number of rewards and models"


def _contaminated(case: Case) -> str:
    """Why the gain is on the given benchmark only; empty where it is not.

    Where the untrained model is much better on one of the two, a small gain on the harder one may
    be all that can be had there: then it must not be surely above 0.
    """
    fresh, difference = case.gain_fresh, case.difference
    if fresh is None or difference is None or not difference.above:
        return ""
    if not case.alike and fresh.above:
        return ""
    if fresh.value <= 0 or fresh.within(case.margin):
        what = "not above 0" if fresh.value <= 0 else "equivalent to 0"
        return f"on {case.ends.fresh} {spell(fresh)}, {what}; the difference is {spell(difference)}"
    return ""


def _short(case: Case) -> str:
    """What is missing to be beyond every control; empty where nothing is."""
    if case.same:
        return f"it is the control {case.same[0]} itself"
    if not case.against or case.weakest is None:
        return "there is no control to compare it with"
    if not all(c.above for c in case.beaten.values()):
        return f"{_least(case)} is neither surely above 0 nor equivalent to it"
    small = min(case.beaten.items(), key=lambda item: item[1].value)
    if small[1].value < case.margin:
        return f"{_told(small)} is above 0, but below {_points(case.margin)} points"
    return ""


def _least(case: Case) -> str:
    assert case.weakest is not None
    return _told(case.weakest)


def _told(item: tuple[Key, Contrast]) -> str:
    (control, end), found = item
    return f"over {control} on {end} {spell(found)}"


def _no_more_than(case: Case, controls: Sequence[str]) -> str:
    """Which of some controls the reward is equivalent or inferior to; empty where none."""
    for control in controls:
        if control in case.same:
            return f"it is the control {control} itself"
        for (name, end), found in case.against.items():
            if name == control and (found.below or found.within(case.margin)):
                what = "surely below it" if found.below else "equivalent to it"
                return f"over {control} on {end} {spell(found)}, {what}"
    return ""


def holm(ps: Sequence[float]) -> list[bool]:
    """Which hypotheses are rejected at 0.05 together (Holm 1979)."""
    order = np.argsort(ps, kind="stable")
    rejected = [False] * len(ps)
    for rank, index in enumerate(order.tolist()):
        if ps[index] > LEVEL / (len(ps) - rank):
            break
        rejected[index] = True
    return rejected


def decide_all(cases: Sequence[Case]) -> list[Decision]:
    """The decisions of a study's cases, *genuine* corrected for the number of valid ones.

    Only a p that is at most 0.05 by itself can fail by the correction.
    """
    valid = [case for case in cases if not case.faults]
    kept = dict(zip(map(id, valid), holm([case.p_genuine for case in valid]), strict=True))
    return [decide(case, kept.get(id(case), True) or case.p_genuine > LEVEL) for case in cases]


def spell(found: Contrast) -> str:
    """Points with their 90 % interval. Example: ``+12.3 [10.1, 14.5]``."""
    return f"{100 * found.value:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _points(share: float) -> str:
    return f"{100 * share:g}"
