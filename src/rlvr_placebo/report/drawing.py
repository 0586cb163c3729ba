"""Plain charts as inline SVG: intervals of gains, and curves; the page's style has the colours."""

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
        Markup('<line x1="{0:.1f}" x2="{0:.1f}" y1="10" y2="{1}" class="{2}"/>').format(
            x(tick), height - 24, "zero" if tick == 0 else "grid"
        )
        + Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{:+.0f}</text>').format(
            x(tick), height - 8, tick
        )
        for tick in np.arange(x.low, x.high + 1, step)
    ]
    for row, e in enumerate(known):
        y = 22 + ROW * row
        left, right = e["interval"] or (e["gain"], e["gain"])
        told = f"{name_of(e)}: {e['gain']:+.1f} ({left:+.1f} to {right:+.1f})"
        parts.append(
            Markup(
                '<g><title>{}</title><text x="{}" y="{}" text-anchor="end">{}</text>'
                '<line x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}" class="bar"/>'
                '<circle cx="{:.1f}" cy="{}" r="4" class="dot"/></g>'
            ).format(told, LABELS - 10, y + 4, name_of(e), x(left), x(right), y, y, x(e["gain"]), y)
        )
    return _svg(WIDTH, height, title, parts)


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
        Markup('<line x1="30" x2="{}" y1="{:.1f}" y2="{:.1f}" class="grid"/>').format(
            width - 6, y(tick), y(tick)
        )
        + Markup('<text x="26" y="{:.1f}" text-anchor="end">{:.0f}</text>').format(
            y(tick) + 4, 100 * tick
        )
        for tick in (0.0, 0.5, 1.0)
    ]
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="end">step {}</text>').format(
            width - 6, height - 6, last
        )
    )
    for curve, style in panels:
        lines = [(line, f"{style} thin") for line in curve.lines_S_T]
        for line, css in [*lines, (curve.mean_T, style)]:
            points = " ".join(
                f"{x(step):.1f},{y(value):.1f}"
                for step, value in zip(curve.steps.tolist(), line.tolist(), strict=True)
                if np.isfinite(value)
            )
            parts.append(Markup('<polyline points="{}" class="{}"/>').format(points, css))
    return _svg(width, height, title, parts)


def _svg(width: int, height: int, title: str, parts: Sequence[Markup]) -> Markup:
    body = Markup("").join(parts)
    return Markup(
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{t}">'
        "<title>{t}</title>{b}</svg>"
    ).format(w=width, h=height, t=escape(title), b=body)
