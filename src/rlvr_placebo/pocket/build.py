"""Build an embedded family: vocabulary, corpus, pre-training, checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.model.checkpoint import save
from rlvr_placebo.pocket.pretrain import Pretraining, pretrain
from rlvr_placebo.pocket.prior import FAMILIES
from rlvr_placebo.pocket.vocabulary import write_vocabulary
from rlvr_placebo.text.tokenizer import Tokenizer


def build(
    family: str,
    out: Path,
    seed: int = 0,
    steps: int | None = None,
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> None:
    """Pre-train a family and write its checkpoint.

    Args:
        family: a name of :data:`rlvr_placebo.pocket.prior.FAMILIES`.
        out: folder of the checkpoint; must not exist.
        seed: pre-training seed.
        steps: optimizer steps, if not the standard number.
        report: called with (step, steps, loss) after every step.

    Raises:
        PlaceboError: unknown family, or the folder is in use.
    """
    if family not in FAMILIES:
        raise PlaceboError(f"unknown family {family!r}; {suggest(family, FAMILIES)}")
    if seed < 0 or (steps is not None and steps < 1):
        raise PlaceboError("--seed must be 0 or more, --steps 1 or more")
    if out.is_file() or (out.exists() and any(out.iterdir())):
        raise PlaceboError(f"{out}: exists already; choose another --out")
    settings = Pretraining() if steps is None else replace(Pretraining(), steps=steps)
    with TemporaryDirectory() as scratch:
        write_vocabulary(Path(scratch))
        tokenizer = Tokenizer(Path(scratch), stops=[0])
        model = pretrain(
            FAMILIES[family],
            tokenizer,
            settings,
            seed,
            lambda step, loss: report(step, settings.steps, loss),
        )
        save(model, tokenizer, out)
