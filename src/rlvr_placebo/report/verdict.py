"""The verdict as cards: the category, the sentence that justifies it, contrasts and the ladder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.analysis.frames import VERDICT
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.report.drawing import Interval, bars, forest, name_of


def verdict_cards(folder: StudyFolder) -> dict[str, Any] | None:
    """What the page says of the verdict; None where none has been given.

    Raises:
        PlaceboError: its file is damaged.
    """
    if not (folder.path / VERDICT).exists():
        return None
    document = RunDirectory(folder.path).read_json(VERDICT)
    return {
        "hash": document["protocol_hash"][:12],
        "before": document["protocol"]["before"],
        "delta": document["protocol"]["delta"],
        "cards": [_card(entry, document["protocol"]) for entry in document["verdicts"]],
    }


def _card(entry: Mapping[str, Any], protocol: Mapping[str, Any]) -> dict[str, Any]:
    head = {key: entry[key] for key in ("model", "category", "meaning", "because", "notes",
                                        "exploratory", "crashed")}  # fmt: skip
    name = name_of(entry)
    card = {**head, "name": name, "contrasts": None, "ladder": None}
    if entry["gain"] is None:
        return card
    given, fresh = protocol["given"], protocol["fresh"]
    found = [("base", given, entry["gain"]), ("base", fresh, entry["gain_fresh"])]
    found += [(c["control"], c["benchmark"], c) for c in entry["controls"]]
    rows = [
        Interval(f"over {over}, {benchmark}", one["value"], *one["interval90"])
        for over, benchmark, one in found
        if one
    ]
    title = f"{name} on {entry['model']}: what it is above, in points, with 90 % intervals"
    card["contrasts"] = forest(rows, title, 300, protocol["delta"])
    steps = entry["ladder"]["steps"]
    title = f"{name} on {entry['model']}: accuracy of each rung of the ladder, per cent"
    card["ladder"] = bars([(s["arm"], s["accuracy"], _rung(s)) for s in steps], title)
    return card | {"ladder_note": entry["ladder"]["note"]}


def _rung(step: Mapping[str, Any]) -> str:
    """Accuracy of a rung and what it adds to the one below, with its 90 % interval."""
    if not step["step"]:
        return f"{step['accuracy']:.1f}"
    low, high = step["step"]["interval90"]
    return f"{step['accuracy']:.1f} ({step['step']['value']:+.1f} [{low:+.1f}, {high:+.1f}])"
