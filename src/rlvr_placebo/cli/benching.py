"""``placebo bench``: how fast this machine trains and generates, beside a peer and the floor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from rlvr_placebo.core.errors import PlaceboError


@dataclass(frozen=True)
class Bench:
    """Time training steps and generation, beside a peer and the arithmetic they need."""

    profiles: tuple[str, ...] = ()
    """What to time: step-8, step-1, step-1m, step-5m, generation-64 …; by default all of these."""
    scaling: bool = False
    """Time how a step grows with rows, length, width of the model and workers, instead."""
    peer: Literal["trl", "none"] = "none"
    """Time TRL and transformers too, in turns with ours."""
    repeats: int = 5
    """Of each side, behind one to warm up."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Time and print."""
        from rlvr_placebo.bench.peer import trl_version
        from rlvr_placebo.bench.profiles import find
        from rlvr_placebo.bench.run import bench
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.cli.tables import print_bench
        from rlvr_placebo.model.process import settle

        settle()
        if self.repeats < 1:
            raise PlaceboError("bench: --repeats must be 1 or more")
        profiles = find(self.profiles, self.scaling)
        versions = {"trl": trl_version()} if self.peer == "trl" else {}
        entries = []
        with Display(0) as display:
            for profile in profiles:
                entries += bench(profile, self.peer == "trl", self.repeats, display.progress)
        if self.json:
            print(json.dumps({"entries": entries, "versions": versions}, indent=2))
        else:
            print_bench(entries)
