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


def intervals(entries: Sequence[Mapping[str, Any]], title: str) -> Markup:
    """One row per arm: its gain as a dot, its 95 % interval as a line, around a line at zero."""
    known = [e for e in entries if e["gain"] is not None]
    ends = [0.0] + [v for e in known for v in (e["interval"] or [e["gain"]])]
    step = 10 if max(ends) - min(ends) <= 120 else 50
    low, high = step * np.floor(min(ends) / step), step * np.ceil(max(ends) / step)
    x = Scale(float(low), float(max(high, low + step)), LABELS, WIDTH - 20)
    height = ROW * len(known) + 40
    parts = [
        line(x(tick), 10, x(tick), height - 24, "zero" if tick == 0 else "grid")
        + text(x(tick), height - 8, f"{tick:+.0f}")
        for tick in np.arange(x.low, x.high + 1, step)
    ]
    for row, e in enumerate(known):
        y = 22 + ROW * row
        left, right = e["interval"] or (e["gain"], e["gain"])
        told = f"{name_of(e)}: {e['gain']:+.1f} ({left:+.1f} to {right:+.1f})"
        name = text(LABELS - 10, y + 4, name_of(e), "end")
        bar = line(x(left), y, x(right), y, "bar")
        parts.append(name + bar + dot(x(e["gain"]), y, "dot", told, 4))
    return svg(WIDTH, height, title, parts)


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
    ".grid{stroke:#ddd}.zero{stroke:#6a6a6a}.band{fill:#eee}.bar{stroke:#1f6feb;stroke-width:2}"
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
