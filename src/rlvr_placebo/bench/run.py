"""Time profiles: ours and the peer's in turns, in one process, on one thread."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rlvr_placebo.bench.alone import OURS, alone
from rlvr_placebo.bench.floor import generation_floor, step_floor
from rlvr_placebo.bench.ours import POOL, Generation, our_steps
from rlvr_placebo.bench.peer import Continuous, Generate, trl_steps
from rlvr_placebo.bench.profiles import Profile, checkpoint_folder
from rlvr_placebo.text.problems import load_problems

WARM_UP = 1
Progress = Callable[[str, int, int], None]


def bench(profile: Profile, peer: bool, repeats: int, progress: Progress) -> list[dict[str, Any]]:
    """Time one profile.

    Args:
        profile: what.
        peer: whether the peer is timed in the same run.
        repeats: of each side, behind one to warm up.
        progress: hears of repeats.

    Returns:
        One entry per comparison: name, our seconds and the peer's (medians), their ratio, the floor
        and the fraction of it that is reached, repeats, spread, peak memory of either side alone.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = checkpoint_folder(profile, scratch)
        timed = {"step": _steps, "generation": _generation, "workers": _workers}[profile.kind]
        return timed(profile, folder, scratch, peer, repeats, progress)


def _steps(
    profile: Profile, folder: Path, scratch: Path, peer: bool, repeats: int, progress: Progress
) -> list[dict[str, Any]]:
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    total = repeats + WARM_UP
    with our_steps(profile, folder, scratch).open() as steps:

        def turn(found: dict[str, float]) -> None:
            theirs.append(found)
            ours.append(steps.step())
            progress(profile.name, len(ours), total)

        if peer:
            trl_steps(profile, folder, load_problems(POOL), scratch, total, turn)
        else:
            for _ in range(total):
                turn({})
        lengths = steps.lengths()
        floor = step_floor(steps.trial.checkpoint.model.architecture, *lengths, profile.updates)
    ours, theirs = ours[WARM_UP:], theirs[WARM_UP:] if peer else []
    entries = [
        _entry(f"{profile.name}/{part}", [o[part] for o in ours],
               [t.get(part, 0.0) for t in theirs], floor.get(part), "TRL")
        for part in ("step", "generation", "scoring", "update")
    ]  # fmt: skip
    entries[0] |= _memory(profile, "TRL" if peer else None)
    return entries


def _generation(
    profile: Profile, folder: Path, scratch: Path, peer: bool, repeats: int, progress: Progress
) -> list[dict[str, Any]]:
    del scratch
    ours = Generation(profile, folder)
    others = (
        [kind(profile, folder, ours.prompts) for kind in (Generate, Continuous)] if peer else []
    )
    seconds: dict[str, list[float]] = {}
    for turn in range(repeats + WARM_UP):
        for name, side in [("ours", ours), *((o.name, o) for o in others)]:
            spent, tokens = side.once()
            if turn >= WARM_UP:  # per thousand tokens: lengths differ from call to call
                seconds.setdefault(name, []).append(1000 * spent / tokens)
        progress(profile.name, turn + 1, repeats + WARM_UP)
    tokens = sum(map(sum, ours.lengths))
    floor = generation_floor(ours.architecture, [len(p) for p in ours.prompts], ours.lengths)
    return [
        _entry(f"{profile.name}/1000 tokens", seconds["ours"], seconds.get(o, []),
               1000 * floor / tokens, o) | _memory(profile, o or None)
        for o in ([o.name for o in others] or [""])
    ]  # fmt: skip


def _workers(
    profile: Profile, folder: Path, scratch: Path, peer: bool, repeats: int, progress: Progress
) -> list[dict[str, Any]]:
    """Seconds of a step of all workers together: of one, divided by their number."""
    del folder, scratch
    step = replace(profile, kind="step")
    sides = [OURS, "TRL"] if peer else [OURS]
    seconds: dict[str, list[float]] = {}
    for side in sides:
        found = alone(step, side, repeats, profile.workers)
        seconds[side] = [
            statistics.mean(laps) / profile.workers
            for laps in zip(*(f["seconds"] for f in found), strict=True)
        ]
        progress(profile.name, len(seconds), len(sides))
    return [_entry(f"{profile.name}/step", seconds[OURS], seconds.get("TRL", []), None, "TRL")]


@cache
def _peak(profile: Profile, side: str) -> float:
    """MB that a process of one side holds at most, loading and one step (or call) included."""
    return alone(profile, side, 1)[0]["peak_mb"]


def _memory(profile: Profile, peer: str | None) -> dict[str, float | None]:
    return {
        "peak_mb": _peak(profile, OURS),
        "peer_peak_mb": _peak(profile, peer) if peer else None,
    }


def _entry(
    name: str, ours: Sequence[float], theirs: Sequence[float], floor: float | None, peer: str
) -> dict[str, Any]:
    """Medians of both sides, their ratio and the floor."""
    mine = statistics.median(ours)
    other = statistics.median(theirs) if theirs else None
    return {
        "name": name,
        "peer": peer if theirs else None,
        "seconds": mine,
        "peer_seconds": other,
        "ratio": other / mine if other and mine else None,
        "floor_seconds": floor,
        "floor_fraction": floor / mine if floor and mine else None,
        "repeats": len(ours),
        "spread": [min(ours), max(ours)],
        "peer_spread": [min(theirs), max(theirs)] if theirs else None,
        "peak_mb": None,
        "peer_peak_mb": None,
    }
