"""Plain charts as SVG: intervals of gains, and curves; the page's style has the colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from rlvr_placebo.analysis.curves import Curve

ROW = 22
LABELS = 210
WIDTH = 640


@dataclass(frozen=True)
class Scale:
    """From values to horizontal or vertical places, linearly."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Interval:
    """One row of a forest: a value with its interval. ``css`` colours it."""

    label: str
    value: float
    low: float
    high: float
    css: str = ""

    @property
    def told(self) -> str:
        """What is said of it on hovering."""
        return f"{self.label}: {self.value:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def forest(
    rows: Sequence[Interval], title: str, labels: float = LABELS, band: float = 0.0
) -> Markup:
    """One row per value: a dot, its interval as a line, around a line at zero.

    Args:
        rows: from above to below.
        title: read out, and shown on hovering.
        labels: width of the column of labels.
        band: half of the width of a band around zero.
    """
    ends = [0.0, band, -band, *(end for row in rows for end in (row.low, row.high))]
    step = next(s for s in (10, 20, 50, 1000) if max(ends) - min(ends) <= 12 * s)
    low, high = step * np.floor(min(ends) / step), step * np.ceil(max(ends) / step)
    width = labels + WIDTH - LABELS
    x = Scale(float(low), float(max(high, low + step)), labels, width - 20)
    height = ROW * len(rows) + 40
    parts = []
    if band:
        parts.append(Markup(
            '<rect x="{:.1f}" y="10" width="{:.1f}" height="{:.1f}" class="band"/>'
        ).format(x(-band), x(band) - x(-band), height - 34))  # fmt: skip
    parts += [
        line(x(tick), 10, x(tick), height - 24, "zero" if tick == 0 else "grid")
        + text(x(tick), height - 8, f"{tick:+.0f}")
        for tick in np.arange(x.low, x.high + 1, step)
    ]
    for place, row in enumerate(rows):
        y = 22 + ROW * place
        parts += [
            text(labels - 10, y + 4, row.label, "end"),
            line(x(row.low), y, x(row.high), y, f"bar {row.css}".strip()),
            dot(x(row.value), y, f"dot {row.css}".strip(), row.told, 4),
        ]
    return svg(width, height, title, parts)


def intervals(entries: Sequence[Mapping[str, Any]], title: str) -> Markup:
    """One row per arm: its gain with its 95 % interval."""
    rows = [
        Interval(name_of(e), e["gain"], *(e["interval"] or (e["gain"], e["gain"])))
        for e in entries
        if e["gain"] is not None
    ]
    return forest(rows, title)


def bars(rows: Sequence[tuple[str, float, str]], title: str) -> Markup:
    """One bar per row: a label, per cent, and what is written behind it."""
    x = Scale(0.0, 100.0, LABELS, WIDTH - 110)
    parts: list[Markup] = []
    for place, (label, value, told) in enumerate(rows):
        y = 10 + ROW * place
        parts += [
            text(LABELS - 10, y + 12, label, "end"),
            Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" class="rung"/>').format(
                x(0), y, x(value) - x(0), ROW - 6
            ),
            text(x(value) + 6, y + 12, told, "start"),
        ]
    return svg(WIDTH, ROW * len(rows) + 20, title, parts)


def name_of(entry: Mapping[str, Any]) -> str:
    """An arm's name: its reward, its variant where there are several, and the mark of TTRL."""
    name = entry["reward"]
    if entry["variant"] != "plain":
        name += f" [{entry['variant']}]"
    if entry.get("template", "plain") != "plain":
        name += f" (prompt: {entry['template']})"
    return f"{name} †" if entry.get("trains_on_test") else name


def curves(panels: Sequence[tuple[Curve, str]], title: str) -> Markup:
    """Shares by step, 0 to 100 per cent: thin lines per seed, a thick one for their mean.

    Args:
        panels: curves with the class that styles them (``accuracy`` or ``code``).
        title: read out, and shown on hovering.
    """
    width, height = 236, 150
    last = max((int(c.steps[-1]) for c, _ in panels if len(c.steps)), default=1)
    x, y = Scale(0, max(last, 1), 30, width - 6), Scale(0, 1, height - 20, 8)
    parts = [
        line(30, y(tick), width - 6, y(tick), "grid")
        + text(26, y(tick) + 4, f"{100 * tick:.0f}", "end")
        for tick in (0.0, 0.5, 1.0)
    ]
    parts.append(text(width - 6, height - 6, f"step {last}", "end"))
    for curve, style in panels:
        lines = [(values, f"{style} thin") for values in curve.lines_S_T]
        for values, css in [*lines, (curve.mean_T, style)]:
            points = " ".join(
                f"{x(step):.1f},{y(value):.1f}"
                for step, value in zip(curve.steps.tolist(), values.tolist(), strict=True)
                if np.isfinite(value)
            )
            parts.append(Markup('<polyline points="{}" class="{}"/>').format(points, css))
    return svg(width, height, title, parts)


def svg(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    """A drawing of these parts; the page around it has the style."""
    body = Markup("").join(parts)
    return Markup(
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{t}">'
        "<title>{t}</title>{b}</svg>"
    ).format(w=width, h=height, t=escape(title), b=body)


STYLE = Markup(
    "<style>svg{font:11px system-ui,sans-serif;background:#fff}text{fill:#1c1c1c}"
    ".grid{stroke:#ddd}.zero{stroke:#6a6a6a}.band{fill:#eee}.rung{fill:#1f6feb;opacity:.75}.bar{stroke:#1f6feb;stroke-width:2}"
    ".dot{fill:#1f6feb}.faint{fill:#1f6feb;opacity:.45}"
    ".shown{stroke:#283;fill:#283}.refuted{stroke:#b00;fill:#b00}.open{stroke:#777;fill:#777}"
    "</style>"
)


def alone(drawing: Markup) -> str:
    """A drawing as a file of its own, on white, with its style."""
    head, body = drawing.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{STYLE}{body}\n'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    """A straight line."""
    return Markup(
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>'
    ).format(x1, y1, x2, y2, css)  # fmt: skip


def text(x: float, y: float, says: str, anchor: str = "middle", turned: float = 0) -> Markup:
    """Words at a place, turned by some degrees about it."""
    turn = Markup(' transform="rotate({:g} {:.1f} {:.1f})"').format(turned, x, y) if turned else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}"{}>{}</text>').format(
        x, y, anchor, turn, says
    )


def dot(x: float, y: float, css: str, told: str = "", radius: float = 3) -> Markup:
    """A dot; what it tells is shown on hovering."""
    inside = Markup("<title>{}</title>").format(told) if told else ""
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:g}" class="{}">{}</circle>').format(
        x, y, radius, css, inside
    )
