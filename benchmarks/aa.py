"""A/A: deal the runs of one arm to arms that cannot differ, and count what a verdict finds.

placebo study run studies/aa.toml --out runs/aa; python benchmarks/aa.py runs/aa

Five runs against five: how often a 95 % interval of their difference leaves out 0. Five as the
reward and four times five as its controls: how often that is called genuine. The interval of either
share comes from drawing the runs again (with replacement) and dealing anew, so that it respects
that the same runs are dealt many times. C0 (prompts) is not among the controls here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from rlvr_placebo.analysis.arms import samples
from rlvr_placebo.analysis.contrasts import BASE, Key, Outcomes, contrast
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.verdict.decision import (
    REWARD,
    SHUFFLE,
    TRAINED,
    Category,
    Ends,
    decide,
    make_case,
)

MARGIN, SIZE, LEAST = 0.03, 5, 60


def main() -> None:
    """Read the runs, deal, and say what was found."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("study", type=Path)
    ask.add_argument("--splits", type=int, default=500)
    ask.add_argument("--resamples", type=int, default=100)
    ask.add_argument("--splits-of-a-resample", type=int, default=250)
    asked = ask.parse_args()
    runs = StudyFolder.open(asked.study).finished_runs()
    if len(runs) < LEAST:
        sys.exit(f"{asked.study}: {len(runs)} runs are finished, {LEAST} are wanted")
    ends = [c["benchmark"] for c in runs[0].config["contracts"]]
    step = runs[0].config["steps"]
    before = {end: samples(runs[0].evaluation(0), end, 1.0) for end in ends}
    after = {end: [samples(run.evaluation(step), end, 1.0) for run in runs] for end in ends}
    base = {end: Outcomes(b.correct_P[None], b.clusters, b.samples, False)
            for end, b in before.items()}  # fmt: skip
    trained = {end: np.array([a.correct_P for a in own]) for end, own in after.items()}
    by_run = trained[ends[0]].mean(axis=1)
    untrained, sd = before[ends[0]].correct_P.mean(), by_run.std(ddof=1)
    say(f"{len(runs)} runs; {ends[0]}: untrained {100 * untrained:.1f}, trained "
        f"{100 * by_run.mean():.1f}, SD over seeds {100 * sd:.2f} points")  # fmt: skip
    everything = np.arange(len(runs))
    found = shares(base, trained, everything, asked.splits, 0)
    again = []
    for number in range(1, asked.resamples + 1):
        rng = generator_for(0, number, "", 0, "A/A resample")
        drawn = np.sort(rng.choice(everything, len(everything)))
        again.append(shares(base, trained, drawn, asked.splits_of_a_resample, number))
    for place, name in enumerate(("called different (95 % interval without 0)", "called genuine")):
        low, high = np.quantile([one[place] for one in again], (0.025, 0.975))
        say(f"{name}: {100 * found[place]:.1f} % of {asked.splits} splits "
            f"[{100 * low:.1f}, {100 * high:.1f}]")  # fmt: skip


def shares(
    base: dict[str, Outcomes], trained: dict[str, np.ndarray], runs: np.ndarray, splits: int,
    number: int,
) -> tuple[float, float]:  # fmt: skip
    """Shares of splits of these runs that are called different, and genuine."""
    different = genuine = 0
    ends = list(base)
    for split in range(splits):
        order = generator_for(0, split, "", number, "A/A split").permutation(runs)
        arms = dict(zip((REWARD, *TRAINED), np.split(order[: SIZE * 5], 5), strict=True))
        outcomes: dict[Key, Outcomes] = {(BASE, end): base[end] for end in ends}
        for arm, own in arms.items():
            for end in ends:
                some = base[end]
                outcomes[arm, end] = Outcomes(trained[end][own], some.clusters, some.samples)
        two = {(arm, ends[0]): outcomes[arm, ends[0]] for arm in (REWARD, SHUFFLE)}
        found = contrast(two, {(REWARD, ends[0]): 1.0, (SHUFFLE, ends[0]): -1.0})
        low, high = found.interval(0.95)
        different += not low <= 0 <= high
        case = make_case(outcomes, Ends(*ends[:2]), MARGIN)
        genuine += decide(case).category is Category.GENUINE
    return different / splits, genuine / splits


def say(line: str) -> None:
    """One line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
