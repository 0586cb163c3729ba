"""Put what was found of the claims, and the laboratory's decision, into the documents.

placebo claims run --out runs/claims; placebo clipping --out runs/clipping
python benchmarks/findings.py --claims runs/claims --clipping runs/clipping
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pages import DOCS, ROOT, fill

from rlvr_placebo.analysis.folder import evaluation_seconds, laps_of
from rlvr_placebo.claims.registry import CLAIMS
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.report.drawing import alone
from rlvr_placebo.report.findings import draw_drift, draw_effects, draw_ends, spell


def main() -> None:
    """Read the results, draw, and fill the marked places."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--claims", type=Path, help="a folder of placebo claims run")
    ask.add_argument("--clipping", type=Path, help="a folder of placebo clipping")
    asked = ask.parse_args()
    pages: list[tuple[Path, str, str]] = []
    drawings: dict[str, Markup] = {}
    if asked.claims:
        document = read(asked.claims / "claims.json")
        claims = document["claims"]
        check(claims, asked.claims)
        pages += [
            (DOCS / "findings.md", "totals", totals(document, asked.claims)),
            (DOCS / "findings.md", "claims", effects_table(claims)),
            (ROOT / "README.md", "findings", claims_table(claims)),
        ]
        drawings["findings-claims.svg"] = draw_effects(claims)
    if asked.clipping:
        clipping = read(asked.clipping / "clipping.json")
        pages.append((DOCS / "findings.md", "clipping", laboratory(clipping)))
        if clipping["local"]:
            drawings["findings-drift.svg"] = draw_drift(clipping["local"])
        if clipping["trajectories"]:
            drawings["findings-ends.svg"] = draw_ends(clipping["trajectories"])
    if not pages:
        ask.error("nothing to read: give --claims DIR, --clipping DIR or both")
    for page, name, text in pages:  # everything has been read and made
        fill(page, name, text)
    for name, drawing in drawings.items():
        draw(name, drawing)
    written = sorted({page.name for page, _, _ in pages})
    sys.stdout.write(f"written: {', '.join([*written, *drawings])}\n")


def check(claims: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Refuse findings of rules that are no longer those of the claims."""
    rules = {claim.id: claim.digest for claim in CLAIMS.values()}
    old = [entry["id"] for entry in claims if rules.get(entry["id"]) != entry.get("digest")]
    if old or not claims:
        sys.exit(f"{folder}: {', '.join(old) or 'nothing'} was found by other rules than "
                 "today's, or not at all; placebo claims run --out decides anew")  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """A result, or one line."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{path}: cannot be read ({error})")


def draw(name: str, drawing: Markup) -> None:
    """Write a drawing beside the page."""
    (DOCS / name).write_text(alone(drawing), encoding="utf-8")


def totals(document: Mapping[str, Any], folder: Path) -> str:
    """How many claims came out how, what they took, and what goes together."""
    claims = document["claims"]
    counts = Counter(claim["finding"] for claim in claims)
    said = [", ".join(f"{times} {finding}" for finding, times in counts.most_common())]
    said[0] = f"{len(claims)} of {len(CLAIMS)} claims: {said[0]}."
    if missing := CLAIMS.keys() - {claim["id"] for claim in claims}:
        said.append(f"Not run to their ends: {', '.join(sorted(missing))}.")
    every = [RunDirectory(path) for path in sorted((folder / "runs").iterdir())]
    runs = [run for run in every if run.finished]
    seconds = sum(sum(lap.total for lap in laps_of(run)) + sum(evaluation_seconds(run))
                  for run in runs)  # fmt: skip
    said.append(f"{len(runs)} runs, {seconds / 120:.0f} minutes of two cores (steps and "
                "evaluations; varieties to build, labels and starting come on top).")  # fmt: skip
    marks = document["signatures"]
    own = ", ".join(f"`{id}` {finding}" for id, finding in marks["by"].items())
    said.append(f"Signatures that nobody calibrated: {marks['shown']} of {marks['of']} shown "
                f"({own}).")  # fmt: skip
    for one in document["code_and_accuracy"]:
        low, high = one["interval"]
        said.append(f"Over the {one['n']} runs of `{one['model']}`, {one['arms']} arms, changes of "
                    f"code and of accuracy: r = {one['r']:.2f} [{low:.2f}, {high:.2f}] "
                    "(95 %, arms drawn again).")  # fmt: skip
    return "\n".join(f"- {line}" for line in said)


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """One row a claim."""
    rows = ["| claim | in the embedded lab |", "|---|---|"]
    for claim in claims:
        finding = claim["finding"]
        if finding.startswith("undecided") and claim["effects"]:
            finding += f" (detectable: {claim['detectable']:.1f} points)"
        rows.append(f"| `{claim['id']}`: {claim['says']} | {finding} |")
    return "\n".join(rows)


def effects_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """One row an effect."""
    rows = [
        "| claim | effect | rule | points [90 %] | finding | detectable | shows from | flat, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for claim in claims:
        for effect in claim["effects"]:
            rows.append(
                f"| `{claim['id']}` ({claim['source']}) | {effect['effect']} | {effect['rule']} "
                f"| {spell(effect)} | {effect['finding']} | {effect['detectable']:.1f} "
                f"| {effect['shows_from']:.1f} | {flat(effect)} |"
            )
    return "\n".join(rows)


def flat(effect: Mapping[str, Any]) -> str:
    """Share of groups without variance of rewards."""
    return "–" if effect["flat"] is None else f"{100 * effect['flat']:.0f}"


def laboratory(found: Mapping[str, Any]) -> str:
    """The decision, the drifts, the ends, and what was logged on the way; as far as they go."""
    rows = [*twin_table(found["twin"]["sgd"]), ""]
    if found["decision"]:
        rows += [f"**{found['decision']}**: {found['rule']}.", ""]
    if found["local"]:
        rows += [*drift_table(found["towards_likelier"]), "", *by_dose(found["local"])]
        rows += ["", "![Local drift beyond off, by dose](findings-drift.svg)"]
    for model, ends in found["trajectories"].items():
        rows += ["", *ends_table(model, ends), "", *logged(ends)]
    if found["trajectories"]:
        rows += ["", "![Accuracy at the end of every run](findings-ends.svg)"]
    else:
        rows += ["", "Trajectories have not been run to their ends yet: there is no decision."]
    return "\n".join(rows)


def drift_table(towards: Mapping[str, Any]) -> list[str]:
    """Drift towards the likelier opening, by treatment and optimizer."""
    rows = [
        "| log-odds a rollout, towards the likelier opening [90 %] "
        "| SGD | detectable | AdamW, fresh moments | detectable |",
        "|---|---|---|---|---|",
    ]
    sgd, adamw = (towards[how] for how in ("sgd", "adamw"))
    names = {f"{cell} − off": ("cells", cell) for cell in sgd["cells"]}
    for name, path in {**names, "both − random mask": ("beyond_mask",), "off": ("off",)}.items():
        cells = []
        for one in (sgd, adamw):
            for key in path:
                one = one[key]
            cells.append(f"{drift(one, 'interval90')} | {one['detectable']:.4f}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return [*rows, f"| a tenth of luck | {sgd['margin']:.4f} | | {adamw['margin']:.4f} | |"]


def twin_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tabular twin: drift towards strategy A, by its share and by how often clips bind."""
    cells = list(rows[0]["drift"])
    table = [f"| twin: share of A, bound | {' | '.join(cells)} |", "|---" * (len(cells) + 1) + "|"]
    for row in rows:
        if row["share"] > 0.5:
            own = [f"{row['drift'][c]['value']:+.4f} ± {row['drift'][c]['stderr']:.4f}"
                   for c in cells]  # fmt: skip
            bound = 100 * row["binding"]
            table.append(f"| {row['share']:g}, {bound:.2g} % | {' | '.join(own)} |")
    return table


def drift(one: Mapping[str, Any], key: str) -> str:
    """Log-odds with one of their intervals."""
    low, high = one[key]
    return f"{one['value']:+.4f} [{low:+.4f}, {high:+.4f}]"


def by_dose(local: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each dose: what both clips did beyond off, and how often they bound."""
    rows = [
        "| share of the marker, optimizer | side | both − off [95 %] | off [95 %] "
        "| tokens bound, % | first tokens bound above, % of A > 0 | below, % of A < 0 "
        "| KL, 1e-4 | mismatch, 1e-6 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for lab in local:
        share = 1 / (1 + math.exp(-lab["before"]))
        ends = [drift(lab["cells"][cell], "interval") for cell in ("both", "off")]
        own = lab["logged"]["both"]
        bound = 100 * (own["clip_ratio/high_mean"] + own["clip_ratio/low_mean"])
        rows.append(
            f"| {share:.2f}, {lab['lab']['optimizer']} | {lab['side']:+d} | {' | '.join(ends)} "
            f"| {bound:.2f} | {100 * own['first_token/high_bound_of_positive']:.1f} "
            f"| {100 * own['first_token/low_bound_of_negative']:.1f} "
            f"| {1e4 * own['kl_rollout']:.1f} "
            f"| {1e6 * own['mismatch/max_logprob_difference']:.0f} |"
        )
    return rows


def ends_table(model: str, ends: Mapping[str, Any]) -> list[str]:
    """Where runs end, beside each reference."""
    references = list(dict.fromkeys(name for one in ends.values() for name in one["over"]))
    heads = " | ".join(f"over {name}" for name in references)
    rows = [f"| `{model}` | accuracy | code | {heads} | SD over seeds | distance |",
            "|---" * (len(references) + 5) + "|"]  # fmt: skip
    for cell, one in ends.items():
        over = [spell(one["over"][n]) if n in one["over"] else "–" for n in references]
        sd = f"{statistics.stdev(one['ends']):.1f}"
        rows.append(f"| {cell} | {spell(one['gain'])} | {spell(one['code'])} | {' | '.join(over)} "
                    f"| {sd} | {one['distance']:.2f} |")  # fmt: skip
    return rows


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
