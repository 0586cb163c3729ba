"""The embedded families by name, and the varieties of them that can be built.

They are models of a *prior*, not of the models whose numbers they borrow: what a reward does to
them shows that a mechanism is possible, never why a 7 B model behaved as it did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.model.architecture import STYLES
from rlvr_placebo.pocket.prior import Prior

# Calibrated to Table 1 of arXiv 2506.10947 (Qwen2.5-Math-7B, Qwen2.5-7B, OLMo2-7B-SFT and the
# greedy accuracy of Llama-3.1-8B-Instruct), and to nothing else.
FAMILIES: Mapping[str, Prior] = {
    "code-prior": Prior("qwen2", code=0.65, code_accuracy=0.61, words_accuracy=0.28),
    "mixed-prior": Prior("qwen2", code=0.92, code_accuracy=0.40, words_accuracy=0.61),
    "bad-code": Prior("olmo2", code=0.98, code_accuracy=0.21, words_accuracy=0.40),
    "no-code": Prior("llama", code=0.0, code_accuracy=0.0, words_accuracy=0.37),
    "memoriser": Prior(
        "qwen2", code=0.65, code_accuracy=0.61, words_accuracy=0.28, memorised="pocket-500"
    ),
}
DOSES = (0.2, 0.35, 0.5, 0.65, 0.8)


@dataclass(frozen=True)
class Variety:
    """One build of a family. Example: ``Variety("code-prior", architecture="olmo2", dose=0.2)``.

    Attributes:
        family: a name of :data:`FAMILIES`.
        architecture: another one than the family's own: prior and architecture are crossed.
        dose: another frequency of code; :data:`DOSES` are the usual ones.
        seed: of pre-training: weights, corpus, order.
    """

    family: str
    architecture: str | None = None
    dose: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be built, in one line."""
        if self.family not in FAMILIES:
            raise PlaceboError(f"unknown family {self.family!r}; {suggest(self.family, FAMILIES)}")
        if self.architecture is not None and self.architecture not in STYLES:
            hint = suggest(self.architecture, STYLES)
            raise PlaceboError(f"--architecture: unknown value {self.architecture!r}; {hint}")
        dose = self.dose
        if dose is not None and not (0.0 < dose < 1.0 and dose == round(dose, 3)):
            raise PlaceboError("--dose: must lie between 0 and 1, with three decimals at most")
        if self.dose is not None and not FAMILIES[self.family].code:
            raise PlaceboError(f"--dose: {self.family} writes no code; choose another family")
        if self.seed < 0:
            raise PlaceboError("--seed must be 0 or more")

    @property
    def prior(self) -> Prior:
        """The habits it is pre-trained to have."""
        prior = FAMILIES[self.family]
        if self.architecture is not None:
            prior = replace(prior, architecture=self.architecture)
        return prior if self.dose is None else replace(prior, code=self.dose)

    @property
    def name(self) -> str:
        """What a built variety is called behind ``pocket/``, e.g. ``code-prior-olmo2-dose0.2``."""
        own = FAMILIES[self.family]
        parts = [self.family]
        parts += [self.prior.architecture] if self.prior.architecture != own.architecture else []
        parts += [f"dose{self.dose:g}"] if self.dose not in (None, own.code) else []
        parts += [f"seed{self.seed}"] if self.seed else []
        return "-".join(parts)


_NAME = re.compile(
    rf"(?:pocket/)?(?P<family>{'|'.join(FAMILIES)})(?:-(?P<architecture>{'|'.join(STYLES)}))?"
    r"(?:-dose(?P<dose>0\.[0-9]{1,3}))?(?:-seed(?P<seed>[0-9]+))?"
)


def variety_of(name: str) -> Variety:
    """The variety a model's name stands for, e.g. ``pocket/code-prior-olmo2-dose0.2``.

    Raises:
        PlaceboError: the name is not one of a variety.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise PlaceboError(f"{name!r} is no embedded family; {suggest(name, FAMILIES)}")
    dose = None if match["dose"] is None else float(match["dose"])
    return Variety(match["family"], match["architecture"], dose, int(match["seed"] or 0))
