"""The protocol of a verdict: what was decided before the first run, and its hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.verdict.decision import TRAINED

FILE = "protocol.json"
VERSION = 1  # of the rules in docs/verdict.md
SAMPLES = 8  # answers per problem, at least


@dataclass(frozen=True)
class Protocol:
    """What a verdict compares, and by which rules.

    Attributes:
        given: the benchmark B.
        fresh: the benchmark B′; empty where there is none.
        delta: points per hundred that matter.
        seeds: training seeds of every arm.
        rewards: that are judged, as written on the command line.
        controls: of each of them the trained controls, by role.
        informed: those of them that use information from outside the model.
        models: that are trained.
        development: problems to choose prompts on; empty where no prompts are tried.
        prompts: templates that are tried.
        coverage: samples per problem for pass@k; 0 where coverage is not looked at.
        settings: recipe and settings, the same for every arm; there is no tuning.
        runs: names of all runs, which hold the hashes of their configurations.
        before: whether this was written before the runs; False where a study was made for
            something else, and its end points were named afterwards.
    """

    given: str
    fresh: str = ""
    delta: float = 3.0
    seeds: int = 5
    rewards: tuple[str, ...] = ()
    controls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    informed: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    development: str = ""
    prompts: tuple[str, ...] = ()
    coverage: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    before: bool = True

    @property
    def hash(self) -> str:
        """Of all of it, and of the version of the rules."""
        return digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        own = dataclasses.asdict(self)
        listed = {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}
        return {"version": VERSION, "metric": "share of right answers at T = 1, at the last step",
                **listed}  # fmt: skip


def read_protocol(folder: Path) -> Protocol | None:
    """The protocol in a study's folder; None where there is none.

    Raises:
        PlaceboError: it is damaged, was changed, or belongs to another version of the rules.
    """
    if not (folder / FILE).exists():
        return None
    document = RunDirectory(folder).read_json(FILE)
    written = document.get("protocol")
    names = {f.name for f in dataclasses.fields(Protocol)}
    if not isinstance(written, dict) or written.get("version") != VERSION:
        raise PlaceboError(f"{folder / FILE}: damaged, or of another version")
    own: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in written.items() if k in names
    }
    try:
        protocol = Protocol(**own)
    except TypeError:
        raise PlaceboError(f"{folder / FILE}: damaged (entries are missing)") from None
    if protocol.hash != document.get("hash"):
        raise PlaceboError(f"{folder / FILE}: changed since it was written; its hash differs")
    if not _is_whole(protocol):
        raise PlaceboError(f"{folder / FILE}: damaged (an entry is of another kind)")
    return protocol


def _is_whole(protocol: Protocol) -> bool:
    """Whether every entry is of the kind of its default, and every reward has its controls."""
    plain = Protocol("")
    for entry in dataclasses.fields(Protocol):
        kind, value = type(getattr(plain, entry.name)), getattr(protocol, entry.name)
        if not isinstance(value, (int, float) if kind is float else kind):
            return False
    roles = [protocol.controls.get(reward) for reward in protocol.rewards]
    return all(isinstance(own, dict) and own.keys() >= set(TRAINED) for own in roles)
