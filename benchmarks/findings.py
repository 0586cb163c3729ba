"""Put what was found of the claims, and the laboratory's decision, into the documents.

placebo claims run --out runs/claims; placebo clipping --out runs/clipping
python benchmarks/findings.py runs/claims [runs/clipping]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COLOURS = {"shown": "#283", "not seen": "#b00", "undecided at this scale": "#777"}


def main() -> None:
    """Read the results, draw, and fill the marked places."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("claims", type=Path)
    ask.add_argument("clipping", type=Path, nargs="?")
    asked = ask.parse_args()
    claims = json.loads((asked.claims / "claims.json").read_text(encoding="utf-8"))["claims"]
    docs = ROOT / "docs"
    fill(docs / "findings.md", "claims", effects_table(claims))
    fill(ROOT / "README.md", "findings", claims_table(claims))
    (docs / "findings-claims.svg").write_text(draw_effects(claims), encoding="utf-8")
    if asked.clipping:
        found = json.loads((asked.clipping / "clipping.json").read_text(encoding="utf-8"))
        fill(docs / "findings.md", "clipping", laboratory(found))
        (docs / "findings-clipping.svg").write_text(draw_laboratory(found), encoding="utf-8")
    sys.stdout.write("written: docs/findings.md, README.md\n")


def fill(page: Path, name: str, text: str) -> None:
    """Put a text between the marks of a page."""
    marks = f"<!-- {name} -->", f"<!-- /{name} -->"
    old = page.read_text(encoding="utf-8")
    new, times = re.subn(f"{marks[0]}.*?{marks[1]}", lambda _: f"{marks[0]}\n{text}\n{marks[1]}",
                         old, flags=re.DOTALL)  # fmt: skip
    if not times:
        sys.exit(f"{page}: has no place for {name}")
    page.write_text(new, encoding="utf-8")


def spell(found: Mapping[str, Any]) -> str:
    """Points with their 90 % interval."""
    low, high = found["interval90"]
    return f"{found['value']:+.1f} [{low:.1f}, {high:.1f}]"


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """One row a claim."""
    rows = ["| claim | in the embedded lab |", "|---|---|"]
    for claim in claims:
        finding = claim["finding"]
        if finding.startswith("undecided"):
            finding += f" (detectable: {claim['detectable']:.1f} points)"
        rows.append(f"| {claim['says']} | {finding} |")
    return "\n".join(rows)


def effects_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """One row an effect."""
    rows = [
        "| claim | effect | rule | points [90 %] | finding | detectable |",
        "|---|---|---|---|---|---|",
    ]
    for claim in claims:
        for effect in claim["effects"]:
            rows.append(
                f"| `{claim['id']}` ({claim['source']}) | {effect['effect']} | {effect['rule']} "
                f"| {spell(effect)} | {effect['finding']} | {effect['detectable']:.1f} |"
            )
    return "\n".join(rows)


def draw_effects(claims: Sequence[Mapping[str, Any]]) -> str:
    """Every effect with its interval, around the band of ± δ."""
    rows = [(claim, effect) for claim in claims for effect in claim["effects"]]
    ends = [end for _, effect in rows for end in effect["interval90"]]
    low, high = min(-10.0, *ends), max(10.0, *ends)

    def x(points: float) -> float:
        return 470 + 420 * (points - low) / (high - low)

    foot = 20 * len(rows) + 20
    parts = [f'<rect x="{x(-3):.1f}" width="{x(3) - x(-3):.1f}" y="8" height="{foot - 12}" '
             f'fill="#eee"/><line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="8" y2="{foot - 4}" '
             f'stroke="#999"/>']  # fmt: skip
    for place, (claim, effect) in enumerate(rows):
        y, (left, right) = 20 + 20 * place, effect["interval90"]
        colour = COLOURS[effect["finding"]]
        says = escape(f"{claim['id']}: {effect['effect']} {effect['rule']}")
        parts.append(
            f'<text x="460" y="{y + 4}" text-anchor="end">{says}</text>'
            f'<line x1="{x(left):.1f}" x2="{x(right):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="2"/><circle cx="{x(effect["value"]):.1f}" cy="{y}" r="3" '
            f'fill="{colour}"><title>{says}: {escape(spell(effect))}</title></circle>'
        )
    parts += [f'<text x="{x(t):.1f}" y="{foot + 8}" text-anchor="middle">{t:g}</text>'
              for t in range(int(low // 20) * 20 + 20, int(high) + 1, 20)]  # fmt: skip
    return svg(910, foot + 16, "Effects of the claims, in points, with 90 % intervals", parts)


def laboratory(found: Mapping[str, Any]) -> str:
    """The decision, the drifts and the ends."""
    rows = [f"**{found['decision'] or 'not decided yet'}**: {found['rule']}.", ""]
    rows += ["| drift beyond off, towards the likelier habit | SGD | AdamW, fresh moments |",
             "|---|---|---|"]  # fmt: skip
    towards = found["towards_likelier"]
    for cell in towards["sgd"]:
        cells = []
        for how in ("sgd", "adamw"):
            one = towards[how][cell]
            low, high = one["interval90"]
            cells.append(f"{one['value']:+.4f} [{low:+.4f}, {high:+.4f}]")
        rows.append(f"| {cell} | {' | '.join(cells)} |")
    for model, ends in found["trajectories"].items():
        rows += ["", f"| `{model}` | gain | over off | SD over seeds (off) |", "|---|---|---|---|"]
        for cell, one in ends.items():
            beyond = spell(one["over_off"]) if "over_off" in one else "–"
            spread = f"{one['sd']:.1f} ({one['sd_off']:.1f})" if "sd" in one else "–"
            rows.append(f"| {cell} | {spell(one['gain'])} | {beyond} | {spread} |")
    return "\n".join(rows)


def draw_laboratory(found: Mapping[str, Any]) -> str:
    """Local drift (SGD) of every cell beyond off, by dose of the marker, with 95 % intervals."""
    labs = [lab for lab in found["local"] if lab["lab"]["optimizer"] == "sgd"]
    cells = [cell for cell in labs[0]["cells"] if cell != "off"]
    ends = [end for lab in labs for c in cells for end in lab["cells"][c]["interval"]]
    low, high = min(ends), max(ends)
    parts = []

    def y(value: float) -> float:
        return 220 - 190 * (value - low) / (high - low)

    for column, lab in enumerate(labs):
        left = 70 + 150 * column
        parts.append(f'<text x="{left + 50}" y="245" text-anchor="middle">log-odds '
                     f"{lab['before']:+.1f}</text>")  # fmt: skip
        for place, cell in enumerate(cells):
            one, x = lab["cells"][cell], left + 22 * place
            bottom, top = one["interval"]
            parts.append(
                f'<line x1="{x}" x2="{x}" y1="{y(bottom):.1f}" y2="{y(top):.1f}" stroke="#36c" '
                f'stroke-width="2"/><circle cx="{x}" cy="{y(one["value"]):.1f}" r="3" fill="#36c">'
                f"<title>{cell}: {one['value']:+.4f}</title></circle>"
                f'<text x="{x}" y="262" font-size="9" text-anchor="end" '
                f'transform="rotate(-45 {x} 262)">{cell}</text>'
            )
    parts += [f'<line x1="40" x2="{70 + 150 * len(labs)}" y1="{y(0):.1f}" y2="{y(0):.1f}" '
              f'stroke="#999"/>',
              f'<text x="36" y="{y(high) + 4:.1f}" text-anchor="end">{high:+.3f}</text>',
              f'<text x="36" y="{y(low) + 4:.1f}" text-anchor="end">{low:+.3f}</text>']  # fmt: skip
    title = "Local drift of the marker's log-odds beyond off, by dose"
    return svg(90 + 150 * len(labs), 330, title, parts)


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A drawing that stands alone, on white."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
        f'font-family="sans-serif" font-size="11"><title>{title}</title>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    main()
