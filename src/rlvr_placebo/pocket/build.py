"""Build an embedded family: vocabulary, a base, then the family's own habits.

The base of an architecture learns to read the stories, to calculate and to write both ways of
solving (or words alone, for a family that writes no code), and which problems lean to which habit;
it is shared by all families of that architecture and seed. The second stage makes a family of it:
how often it writes code, boxes, and slips.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import cache_folder, digest, write_json
from rlvr_placebo.core.rundir import check_place, locked
from rlvr_placebo.model.checkpoint import load_model, save
from rlvr_placebo.model.folders import shipped_families
from rlvr_placebo.pocket.corpus import documents
from rlvr_placebo.pocket.families import Variety
from rlvr_placebo.pocket.pretrain import Keeper, Stage, new_model, pocket_architecture, pretrain
from rlvr_placebo.pocket.prior import Prior
from rlvr_placebo.pocket.vocabulary import SIZE, train_vocabulary, write_vocabulary
from rlvr_placebo.text.tokenizer import Tokenizer

BASE = Stage(steps=5000, learning_rate=4e-3, practice=0.3)
HABITS = Stage(steps=5000, learning_rate=2e-3)
MARK = "build.json"

Report = Callable[[str, int, int, float], None]  # (what, step, steps, loss)


def base_prior(prior: Prior) -> Prior:
    """What the base of a family is pre-trained on: half of everything, and nothing in between.

    Both ways of solving (or words alone, for a family that writes no code), right on half of the
    problems. It does not waver: which problems lean which way is learnt best from clear examples,
    and a family then only has to move the border.
    """
    half = prior.boxed / 2
    return Prior(prior.architecture, 0.5 if prior.code else 0.0, half, half, waver=0.0)


def build(
    variety: Variety,
    out: Path | None = None,
    report: Report = lambda what, step, steps, loss: None,
    steps: int | None = None,
) -> Path:
    """Pre-train a variety of a family, unless it is in the cache, and write its checkpoint.

    Killed at any time, the same call goes on.

    Args:
        variety: what to build.
        out: folder of the checkpoint, which must not exist; by default the cache, where the model
            is found as ``pocket/<name of the variety>``.
        report: called after every step.
        steps: of each stage, if not the standard number: a look, kept apart from real families.

    Returns:
        The checkpoint's folder.

    Raises:
        PlaceboError: the folder is in use, or the variety is one that is shipped.
    """
    shipped = shipped_families().get(f"pocket/{variety.name}")
    if out is None and shipped is not None:
        raise PlaceboError(
            f"pocket/{variety.name} is shipped ({shipped}); to build it anew, choose an --out"
        )
    if out is not None and (out.is_file() or (out.exists() and any(out.iterdir()))):
        raise PlaceboError(f"{out}: exists already; choose another --out")
    if out is not None:  # a place that cannot be written is found out now, not in half an hour
        check_place(out)
        out.mkdir(parents=True, exist_ok=True)
    prior, seed = variety.prior, variety.seed
    folder, first, second = cache_folder(), BASE, HABITS
    if steps is not None:
        folder = folder / f"looks-{steps}"
        first, second = replace(BASE, steps=steps), replace(HABITS, steps=steps)
    base = _Job(folder / "pocket-bases" / _base_name(variety), base_prior(prior), first, seed)
    own = _Job(folder / "pocket" / variety.name, prior, second, seed, base)
    own.carry_out(report)
    if out is None:
        return own.folder
    shutil.copytree(own.folder, out, ignore=shutil.ignore_patterns(MARK), dirs_exist_ok=True)
    return out


def _base_name(variety: Variety) -> str:
    ways = "both" if variety.prior.code else "words"
    return f"{variety.prior.architecture}-{ways}-seed{variety.seed}"


@dataclass(frozen=True)
class _Job:
    """One stage of pre-training and the folder of the cache that its checkpoint goes to."""

    folder: Path
    prior: Prior
    stage: Stage
    seed: int
    base: _Job | None = None

    @cached_property
    def key(self) -> str:
        """Hash of all that the checkpoint depends on: settings, shape, vocabulary, corpus, base."""
        sample = list(islice(documents(self.prior, self._own_seed, self.stage.practice), 200))
        vocabulary = digest(train_vocabulary().to_str())
        shape = asdict(pocket_architecture(self.prior.architecture, SIZE))
        own = [asdict(self.prior), asdict(self.stage), shape, self.seed, vocabulary, sample]
        return digest([*own, self.base.key if self.base else None])

    @property
    def _own_seed(self) -> int:
        """The second stage reads other documents than the first."""
        return 2 * self.seed + (self.base is not None)

    def carry_out(self, report: Report) -> None:
        """Pre-train, unless the cache holds just this; first the base."""
        with locked(self.folder.with_name(f".{self.folder.name}.lock")):
            mark = self.folder / MARK
            if mark.exists() and mark.read_text(encoding="utf-8").strip() == f'"{self.key}"':
                return
            if self.base:
                self.base.carry_out(report)
            with TemporaryDirectory() as scratch:
                self._pretrain(Path(scratch), report)

    def _pretrain(self, scratch: Path, report: Report) -> None:
        write_vocabulary(scratch)
        tokenizer = Tokenizer(scratch, stops=[0])
        if self.base:
            what, model = "habits", load_model(self.base.folder)
        else:
            what, model = "base", new_model(self.prior.architecture, tokenizer, self.seed)
        keeper = Keeper(
            self.folder.with_name(f".{self.folder.name}-{self.key}.state"),
            lambda step, steps, loss: report(what, step, steps, loss),
        )
        pretrain(model, self.prior, tokenizer, self.stage, self._own_seed, keeper)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        save(model, tokenizer, self.folder)
        write_json(self.folder / MARK, self.key)
