"""What the laboratory keeps of its work: two files on which its decision rests, and no more.

``drift.json`` holds every row of local drift, ``ends.json`` where each trajectory ended, problem by
problem. What stands in them is not measured again: a laboratory goes on from them on another
machine, and its decision is repeated from them alone, without hundreds of run directories.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.claims.claim import Reading
from rlvr_placebo.claims.readings import shares_of
from rlvr_placebo.claims.settle import means
from rlvr_placebo.clipping.drift import DOCUMENT
from rlvr_placebo.core.files import canonical_json, digest, write_atomic
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.model.checkpoint import distance
from rlvr_placebo.model.folders import locate

DRIFTS, ENDS = "drift.json", "ends.json"
MEASURES = ("correct", "code")


def known(out: Path, name: str) -> dict[str, Any]:
    """One of the two files; nothing where it is not there yet.

    Raises:
        PlaceboError: it cannot be read.
    """
    return RunDirectory(out).read_json(name) if (out / name).exists() else {}


def keep_drifts(out: Path, measured: Mapping[str, RunDirectory]) -> dict[str, Any]:
    """Add measurements of local drift that are finished; returns all that are kept, by name.

    Raises:
        PlaceboError: one of them is damaged.
    """
    kept = known(out, DRIFTS)
    for name, run in measured.items():
        if not run.finished:
            continue
        run.must_be_whole()
        document = run.read_json(DOCUMENT)
        lab = {key: value for key, value in document["lab"].items() if key != "model"}
        whole = {**document, "lab": lab, "model_digest": run.config["model_digest"]}
        kept[name] = _rounded(whole)
    _write(out / DRIFTS, kept)
    return kept


def _rounded(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """The same with numbers of seven digits, three or more beyond what is known of them."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def keep_ends(folder: StudyFolder) -> dict[str, Any]:
    """Add trajectories that are finished.

    Returns:
        ``runs``: by name, model, variant, seed, shares by problem after training, what was logged,
        distance from the start, and which of ``untrained`` it began from: shares by problem of the
        untrained models, with what they are shares of.

    Raises:
        PlaceboError: one of them is damaged.
    """
    kept = {"untrained": {}, "runs": {}, **known(folder.path, ENDS)}
    for entry in folder.document["runs"]:
        run = folder.run(entry["name"])
        if entry["name"] in kept["runs"] or not run.finished:
            continue
        run.must_be_whole()
        began = _began(run)
        kept["untrained"][digest(began)] = began
        own = {key: entry[key] for key in ("model", "variant", "seed")}
        kept["runs"][entry["name"]] = {**own, "untrained": digest(began), **_ended(run)}
    _write(folder.path / ENDS, kept)
    return kept


def _began(run: RunDirectory) -> dict[str, Any]:
    """What the untrained model scored, problem by problem."""
    read = {m: shares_of(run, Reading(m, untrained=True)) for m in MEASURES}
    marks, _ = next(iter(read.values()))
    own = {m: _plain(share_P) for m, (_, share_P) in read.items()}
    return {**own, "clusters": list(marks.clusters), "samples": marks.samples}


def _ended(run: RunDirectory) -> dict[str, Any]:
    """What the trained model scored, what the run logged, and how far it went."""
    last = run.path / "checkpoints" / f"checkpoint-{run.config['steps']}"
    return {
        **{m: _plain(shares_of(run, Reading(m, change=False))[1]) for m in MEASURES},
        "identity": digest(run.config),
        "logged": means(run.metrics("step")),
        "distance": distance(locate(run.config["model"]), last),
    }


def _plain(share_P: np.ndarray) -> list[float | None]:
    return [None if np.isnan(share) else round(float(share), 6) for share in share_P]


def _write(path: Path, kept: Mapping[str, Any]) -> None:
    write_atomic(path, canonical_json(kept) + "\n")
