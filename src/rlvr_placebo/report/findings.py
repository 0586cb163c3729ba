"""Drawings of what was found of claims and of clipping, from ``claims.json``, ``clipping.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from rlvr_placebo.report.drawing import ROW, Interval, Scale, dot, forest, line, svg, text

CSS = {"shown": "shown", "not seen": "refuted"}
DELTA = 3.0


def spell(found: Mapping[str, Any]) -> str:
    """Points with their 90 % interval."""
    low, high = found["interval90"]
    return f"{found['value']:+.1f} [{low:.1f}, {high:.1f}]"


def draw_effects(claims: Sequence[Mapping[str, Any]]) -> Markup:
    """Every effect with its 90 % interval, around the band of ± δ; coloured by its finding."""
    rows = [
        Interval(
            f"{claim['id']}: {effect['effect']} {effect['rule']}", effect["value"],
            *effect["interval90"], CSS.get(effect["finding"], "open"),
        )
        for claim in claims for effect in claim["effects"]
    ]  # fmt: skip
    return forest(rows, "Effects of the claims, in points, with 90 % intervals", 480, DELTA)


def draw_drift(local: Sequence[Mapping[str, Any]], optimizer: str = "sgd") -> Markup:
    """Local drift of every cell beyond off, by dose of the marker, with 95 % intervals."""
    labs = [lab for lab in local if lab["lab"]["optimizer"] == optimizer]
    cells = [cell for cell in labs[0]["cells"] if cell != "off"]
    ends = [end for lab in labs for cell in cells for end in lab["cells"][cell]["interval"]]
    y = Scale(min([-1e-6, *ends]), max([1e-6, *ends]), 220, 20)
    right = 70 + 150 * len(labs)
    parts = [line(60, y(0), right, y(0), "zero")]
    parts += [text(56, y(end) + 4, f"{end:+.3f}", "end") for end in (y.low, y.high)]
    for column, lab in enumerate(labs):
        left = 80 + 150 * column
        parts.append(text(left + 44, 12, f"log-odds {lab['before']:+.1f}"))
        for place, cell in enumerate(cells):
            one, x = lab["cells"][cell], left + 22 * place
            bottom, top = one["interval"]
            parts += [
                line(x, y(bottom), x, y(top), "bar"),
                dot(x, y(one["value"]), "dot", f"{cell}: {one['value']:+.4f}"),
                text(x + 4, 236, cell, "end", turned=-60),
            ]
    title = f"Drift of the marker's log-odds per rollout beyond off, by dose ({optimizer})"
    return svg(right + 20, 320, title, parts)


def draw_ends(trajectories: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Markup:
    """Accuracy at the end of every run, by treatment and model; the bar is their mean."""
    parts: list[Markup] = []
    top = 24.0
    x = Scale(0.0, 100.0, 160, 620)
    for model, ends in trajectories.items():
        foot = top + ROW * len(ends)
        parts.append(text(10, top - 8, model, "start"))
        parts += [
            line(x(t), top, x(t), foot, "grid") + text(x(t), foot + 12, f"{t:g} %")
            for t in range(0, 101, 20)
        ]
        for place, (cell, one) in enumerate(ends.items()):
            y, values = top + ROW * (place + 0.5), one["ends"]
            mean = sum(values) / len(values)
            parts.append(text(150, y + 4, cell, "end"))
            parts += [dot(x(v), y, "faint", f"{v:.1f}") for v in values]
            parts.append(line(x(mean), y - 8, x(mean), y + 8, "zero"))
        top = foot + 50.0
    return svg(
        640, top - 20, "Accuracy at the end of every run, by what was done to the ratio", parts
    )
