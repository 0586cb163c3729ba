"""Put what was found of the claims, and the laboratory's decision, into the documents.

placebo claims run --out runs/claims; placebo clipping --out runs/clipping
python benchmarks/findings.py runs/claims [runs/clipping]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pages import DOCS, ROOT, fill

from rlvr_placebo.report.drawing import alone
from rlvr_placebo.report.findings import draw_drift, draw_effects, draw_ends, spell


def main() -> None:
    """Read the results, draw, and fill the marked places."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("claims", type=Path)
    ask.add_argument("clipping", type=Path, nargs="?")
    asked = ask.parse_args()
    claims = json.loads((asked.claims / "claims.json").read_text(encoding="utf-8"))["claims"]
    fill(DOCS / "findings.md", "claims", effects_table(claims))
    fill(ROOT / "README.md", "findings", claims_table(claims))
    draw("findings-claims.svg", draw_effects(claims))
    if asked.clipping:
        found = json.loads((asked.clipping / "clipping.json").read_text(encoding="utf-8"))
        fill(DOCS / "findings.md", "clipping", laboratory(found))
        draw("findings-drift.svg", draw_drift(found["local"]))
        draw("findings-ends.svg", draw_ends(found["trajectories"]))
    sys.stdout.write("written: docs/findings.md, README.md\n")


def draw(name: str, drawing: Markup) -> None:
    """Write a drawing beside the page."""
    (DOCS / name).write_text(alone(drawing), encoding="utf-8")


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


def laboratory(found: Mapping[str, Any]) -> str:
    """The decision, the drifts, the ends, and what was logged on the way."""
    rows = [f"**{found['decision'] or 'not decided yet'}**: {found['rule']}.", ""]
    rows += [
        "| log-odds a rollout beyond off, towards the likelier habit [90 %] "
        "| SGD | detectable | AdamW, fresh moments | detectable |",
        "|---|---|---|---|---|",
    ]
    towards = found["towards_likelier"]
    for cell in towards["sgd"]:
        cells = []
        for one in (towards[how][cell] for how in ("sgd", "adamw")):
            low, high = one["interval90"]
            cells.append(f"{one['value']:+.4f} [{low:+.4f}, {high:+.4f}] | {one['detectable']:.4f}")
        rows.append(f"| {cell} | {' | '.join(cells)} |")
    for model, ends in found["trajectories"].items():
        rows += ["", f"| `{model}` | gain | over off | SD over seeds (off) |", "|---|---|---|---|"]
        for cell, one in ends.items():
            beyond = spell(one["over_off"]) if "over_off" in one else "–"
            spread = f"{one['sd']:.1f} ({one['sd_off']:.1f})" if "sd" in one else "–"
            rows.append(f"| {cell} | {spell(one['gain'])} | {beyond} | {spread} |")
        rows += ["", *logged(ends)]
    return "\n".join(rows)


LOGGED = {
    "clip_ratio/high_mean": ("bound above, %", 100),
    "clip_ratio/low_mean": ("below", 100),
    "first_token/high_bound_of_positive": ("first token: bound above, % of A > 0", 100),
    "first_token/low_bound_of_negative": ("below, % of A < 0", 100),
    "first_token/entropy": ("entropy, nats", 1),
    "first_token/kl_rollout": ("KL, 1e-4", 1e4),
    "first_token/max_logprob_difference": ("mismatch, 1e-6", 1e6),
    "entropy": ("all tokens: entropy", 1),
    "kl_rollout": ("KL, 1e-4", 1e4),
    "grad_norm": ("gradient norm", 1),
}


def logged(ends: Mapping[str, Any]) -> list[str]:
    """What the treatments did: means over steps and seeds."""
    heads = " | ".join(head for head, _ in LOGGED.values())
    rows = [f"| means over steps and seeds | {heads} |", "|---" * (len(LOGGED) + 1) + "|"]
    for cell, one in ends.items():
        known = [(one["logged"].get(key), unit) for key, (_, unit) in LOGGED.items()]
        cells = ["–" if value is None else f"{unit * value:.3g}" for value, unit in known]
        rows.append(f"| {cell} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main()
