"""How fast, and how hard to break, the verifier is; beside plain math-verify in the same run.

python benchmarks/verifier.py FOLDER [--pairs 2000] [--hostile 20000]

FOLDER holds benchmarks as JSONL with ``answer`` (math500.jsonl, deepscaler.jsonl.gz). Four things
are measured: ordinary pairs per second of ours and of math-verify as it comes (alternating, five
times, each pair met by both for the first time in a round), with the 99th percentile; golds that
cannot be read, by reason; how often a formula copied from the question is right; hostile answers:
statuses, the slowest, memory.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.verify.canonical import _canonical
from rlvr_placebo.verify.equivalence import Finding, compare
from rlvr_placebo.verify.judge import judge, verify
from rlvr_placebo.verify.solver import Solver

sys.path.append(str(Path(__file__).parents[1] / "tests" / "verify"))
from adversarial import adversarial

ROUNDS = 5


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


Judge = Callable[[str, str], object]


def golds_of(folder: Path) -> list[str]:
    """Every gold answer of the JSONL files of a folder."""
    found = []
    for path in sorted(folder.glob("*.jsonl*")):
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as stream:
            found += [str(json.loads(line)["answer"]) for line in stream]
    return found


def ordinary(golds: list[str], count: int, seed: int) -> list[tuple[str, str]]:
    """Pairs as in training: half right in some spelling, half the answer of another problem."""
    pairs = []
    for index in range(count):
        rng = generator_for(seed, 0, "", index, "ordinary pairs")
        gold, other = (golds[int(rng.integers(len(golds)))] for _ in range(2))
        spelt = gold.replace(r"\frac", r"\dfrac").replace(", ", ",")
        right = [gold, f"${gold}$", spelt, f"x = {gold}"][int(rng.integers(4))]
        pairs.append((gold, right if rng.random() < 0.5 else other))
    return pairs


def plain(gold: str, answer: str) -> bool:
    """What a user of math-verify writes."""
    from math_verify import parse, verify

    return verify(parse(f"${gold}$"), parse(f"${answer}$"))


def timed(judge_pair: Judge, pairs: list[tuple[str, str]]) -> list[float]:
    """Seconds of each pair."""
    seconds = []
    for gold, answer in pairs:
        started = time.perf_counter()
        judge_pair(gold, answer)
        seconds.append(time.perf_counter() - started)
    return seconds


def speed(golds: list[str], count: int) -> None:
    """Alternate the two on the same pairs, new ones in every round; the first is a warm-up."""
    rates: dict[str, list[float]] = {"ours": [], "math-verify": []}
    every: dict[str, list[float]] = {"ours": [], "math-verify": []}
    for turn in range(ROUNDS + 1):
        pairs = ordinary(golds, count, turn)
        _canonical.cache_clear()
        for name, judge_pair in (("ours", judge), ("math-verify", plain)):
            seconds = timed(judge_pair, pairs)
            if turn:
                rates[name].append(count / sum(seconds))
                every[name] += seconds
    for name, values in rates.items():
        p99 = 1000 * statistics.quantiles(every[name], n=100)[98]
        spread = f"{min(values):.0f} to {max(values):.0f}"
        say(f"{name:12} {statistics.median(values):8.0f} pairs/s ({spread}), p99 {p99:.1f} ms, "
              f"slowest {1000 * max(every[name]):.0f} ms")  # fmt: skip
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["math-verify"])
    say(f"ratio of medians {ratio:.1f}")


def readable(golds: list[str]) -> None:
    """Which golds can only be compared as text: neither number, word, list nor mathematics."""
    reasons: Counter[str] = Counter()
    solver = Solver()
    examples: dict[str, list[str]] = {}
    for gold in dict.fromkeys(golds):
        finding: Finding = compare(gold, "zzz 0", solver)
        if finding.correct is None:
            reasons[finding.rule] += 1
            examples.setdefault(finding.rule, []).append(gold)
    wrong = [g for g in golds if verify(rf"\boxed{{{g}}}", [g]).correct is not True]
    say(f"{len(golds)} golds, {len(set(golds))} different; against themselves not right: {wrong}")
    for reason, count in reasons.most_common():
        say(f"  {count} {reason}: {examples[reason][:5]}")
    solver.close()


def copied(folder: Path) -> None:
    """How often a formula that stands in the question counts as its answer, unevaluated."""
    for path in sorted(folder.glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found = [r for r in rows if any(_right(r["answer"], f) for f in _formulas(r["problem"]))]
        say(f"{path.stem}: in {len(found)} of {len(rows)} problems a formula of the question is "
            f"the right answer, e.g. {[r['answer'] for r in found[:3]]}")  # fmt: skip


def _formulas(question: str) -> list[str]:
    parts = re.findall(r"\\\[(.+?)\\\]|\$\$(.+?)\$\$|\$(.+?)\$", question, re.DOTALL)
    return ["".join(groups) for groups in parts]


def _right(gold: str, formula: str) -> bool:
    return judge(gold, formula).correct is True


def hostile(count: int) -> None:
    """Let hostile answers try."""
    solver = Solver(seconds=1.0)
    statuses: Counter[str] = Counter()
    slowest, started = 0.0, time.perf_counter()
    for gold, answer in adversarial(count):
        before = time.perf_counter()
        statuses[str(compare(gold, answer, solver).status)] += 1
        slowest = max(slowest, time.perf_counter() - before)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{count} hostile answers in {time.perf_counter() - started:.0f} s with a limit of 1 s: "
          f"{dict(statuses)}; slowest {slowest:.2f} s; memory {memory:.0f} MB")  # fmt: skip
    solver.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--hostile", type=int, default=20_000)
    given = parser.parse_args()
    golds = golds_of(given.folder)
    speed(golds, given.pairs)
    readable(golds)
    copied(given.folder)
    if given.hostile:
        hostile(given.hostile)


if __name__ == "__main__":
    main()
