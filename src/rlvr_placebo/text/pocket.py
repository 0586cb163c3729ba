"""Pocket problems: seeded story problems with fresh numbers, for models small enough for a CPU.

A *template* is a sentence frame (a setting: the shop, the bus …) with an operation graph (what is
done to the number); it is also the problem's cluster. Each sentence of a frame does one operation:

========  =====================================  ===========
symbol    meaning                                arithmetic steps
========  =====================================  ===========
``+``     b are added                            1
``-``     b are taken away                       1
``*``     there become b times as many           1
``g``     b groups of c are added                2
``h``     b people take c each                   2
========  =====================================  ===========

After the question stand a day and a time, which have nothing to do with the answer: three numbers
at the end that no one can guess, for the probe of contamination; and what a family's habits hang
on, so that no habit depends on how hard a problem is.

All values stay between 1 and 99. A problem's arithmetic (template and numbers, names apart) decides
by its hash which set it may belong to, so that no two sets share a problem, not even under another
name. A fifth of the templates occurs in held-out sets only; each of their sentences and each of
their graphs is seen in training, but never the two together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Problem, problem_id
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.text.stories import FRAMES, NAMES, Frame

VERSION = 2
LIMIT = 99

GRAPHS = ("+-", "-+", "*+", "+*", "*-", "g", "+-+", "*+-", "h+", "-g", "g-+", "+-+-")
HARD_GRAPHS = ("+-+-+", "*+-+-", "g-+-", "-gh", "gh+-", "h+g-")
# Graphs of no set, told in every frame before training: they teach what each sentence means alone.
PRACTICE_GRAPHS = tuple(
    graph
    for length in (1, 2, 3)
    for graph in map("".join, product("+-*gh", repeat=length))
    if graph not in GRAPHS and graph.count("*") + graph.count("h") <= 1
    if sum(2 if operation in "gh" else 1 for operation in graph) <= 4
)

TEMPLATES: tuple[tuple[str, str], ...] = tuple((f, g) for f in FRAMES for g in GRAPHS)
HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    (f, g)
    for i, f in enumerate(FRAMES)
    for j, g in enumerate(GRAPHS)
    if (i + 2 * j) % 5 == 0  # every frame keeps 9 of its graphs or more, every graph 6 frames
)
TRAIN_TEMPLATES = tuple(t for t in TEMPLATES if t not in HELD_OUT)

# Which sixteenths of all arithmetic a set may use.
_SHARE = {
    "pocket-train": range(0, 10),
    "pocket-500": range(10, 12),
    "pocket-fresh": range(12, 14),
    "pocket-hard": range(14, 15),
    "pocket-new": range(15, 16),
    "pocket-practice": range(0, 10),
}
SETS: dict[str, str] = {
    "pocket-train": "training stream over 4 of 5 templates (pocket-train@N: its first N problems)",
    "pocket-500": "500 problems of the training templates with held-out numbers",
    "pocket-new": "500 problems of held-out templates only",
    "pocket-hard": "500 problems with 5 or 6 arithmetic steps",
    "pocket-fresh": "500 problems with numbers drawn by a seed (pocket-fresh@SEED)",
}
DEFAULT_TRAIN_SIZE = 4096


@dataclass(frozen=True)
class Step:
    """One told operation: its symbol, its number(s), and the values it makes.

    Example: ``Step("g", (3, 4), product=12, result=29)`` adds 3 groups of 4 to 17.
    """

    operation: str
    numbers: tuple[int, ...]
    product: int | None
    result: int


def arithmetic_steps(graph: str) -> int:
    """Number of additions, subtractions and multiplications in an operation graph."""
    return sum(2 if op in "gh" else 1 for op in graph)


def _apply(operation: str, value: int, rng: np.random.Generator) -> Step | None:
    """Draw numbers for one operation on ``value``; None where no draw stays in range."""
    if operation in "gh":
        b, c = (int(k) for k in rng.integers(2, 8, size=2))
        result = value + b * c if operation == "g" else value - b * c
        return Step(operation, (b, c), b * c, result) if 1 <= result <= LIMIT else None
    if operation == "*":
        b = int(rng.integers(2, 6))
        return Step(operation, (b,), None, value * b) if value * b <= LIMIT else None
    high = LIMIT - value if operation == "+" else value - 1
    if high < 2:
        return None
    b = int(rng.integers(2, min(high, 50) + 1))
    return Step(operation, (b,), None, value + b if operation == "+" else value - b)


def draw_steps(graph: str, rng: np.random.Generator) -> tuple[int, tuple[Step, ...]]:
    """Draw a starting number and every step of a graph, by rejection."""
    while True:
        start = int(rng.integers(3, 60))
        steps: list[Step] = []
        for operation in graph:
            step = _apply(operation, steps[-1].result if steps else start, rng)
            if step is None:
                break
            steps.append(step)
        else:
            return start, tuple(steps)


@dataclass(frozen=True)
class Stamp:
    """When a problem was asked, without any meaning. Example: ``Stamp(212, 14, 5)``."""

    day: int
    hour: int
    minute: int

    def __str__(self) -> str:
        """The words behind the question, e.g. ``(Day 212, 14:05)``."""
        return f"(Day {self.day}, {self.hour:02d}:{self.minute:02d})"


def tell(frame: Frame, start: int, steps: tuple[Step, ...], rng: np.random.Generator) -> str:
    """Write the story of one problem."""
    name = NAMES[int(rng.integers(len(NAMES)))]
    thing = frame.things[int(rng.integers(len(frame.things)))]
    sentences = [frame.start.format(n=name, t=thing, b=start)]
    for step in steps:
        b, c = (*step.numbers, 0)[:2]
        sentences.append(frame.sentence(step.operation).format(n=name, t=thing, b=b, c=c))
    sentences.append(frame.ask.format(n=name, t=thing))
    return " ".join(sentences)


def share_of(frame: str, graph: str, start: int, steps: tuple[Step, ...]) -> int:
    """Which sixteenth of all arithmetic a problem falls in; names and things do not matter."""
    text = f"{frame}:{graph}:{start}:{[s.numbers for s in steps]}"
    return hashlib.blake2b(text.encode(), digest_size=2).digest()[0] % 16


def make_problem(
    template: tuple[str, str], allowed: range, source: str, rng: np.random.Generator
) -> Problem:
    """Draw problems of one template until one falls in an allowed sixteenth."""
    frame, graph = template
    while True:
        start, steps = draw_steps(graph, rng)
        if share_of(frame, graph, start, steps) in allowed:
            break
    text = tell(FRAMES[frame], start, steps, rng)
    stamp = Stamp(*(int(rng.integers(low, high)) for low, high in ((1, 366), (0, 24), (0, 60))))
    messages = ({"role": "user", "content": f"{text} {stamp}"},)
    golds = (str(steps[-1].result),)
    return Problem(
        id=problem_id(messages, golds),
        messages=messages,
        golds=golds,
        cluster=f"{frame}:{graph}",
        source=source,
        split="train" if source in ("pocket-train", "pocket-practice") else "test",
        difficulty=float(arithmetic_steps(graph)),
        extra={"frame": frame, "graph": graph, "start": start, "steps": steps, "stamp": stamp},
    )


def _templates_of(name: str) -> tuple[tuple[str, str], ...]:
    if name == "pocket-practice":
        return tuple((f, g) for g in PRACTICE_GRAPHS for f in FRAMES)
    if name == "pocket-new":
        return tuple(sorted(HELD_OUT))
    if name == "pocket-hard":
        return tuple((f, g) for f in FRAMES for g in HARD_GRAPHS)
    return TRAIN_TEMPLATES


def stream(name: str, seed: int = 0) -> Iterator[Problem]:
    """Yield the problems of a pocket set for ever, each once, round the templates in turn.

    Args:
        name: a key of :data:`SETS`, or ``pocket-practice``, which is for pre-training only.
        seed: which draw of the set; 0 is the standard one.
    """
    templates = _templates_of(name)
    seen: set[str] = set()
    index = 0
    while True:
        rng = generator_for(seed, 0, "", index, f"{name}/v{VERSION}")
        template = templates[index % len(templates)]
        index += 1
        problem = make_problem(template, _SHARE[name], name, rng)
        if problem.id not in seen:
            seen.add(problem.id)
            yield problem


def pocket_set(name: str) -> list[Problem]:
    """Return a pocket set by name, e.g. ``pocket-500``, ``pocket-fresh@7``, ``pocket-train@1000``.

    Raises:
        PlaceboError: the name or the number behind the ``@`` is not one of a pocket set.
    """
    base, at, argument = name.partition("@")
    if base not in SETS or (at and base not in ("pocket-train", "pocket-fresh")):
        raise PlaceboError(f"unknown problem set {name!r}; known: {', '.join(SETS)}")
    if at and not (argument.isdecimal() and len(argument) <= 18):
        raise PlaceboError(f"{name!r}: a whole number must follow the @")
    number = int(argument) if at else None
    if base == "pocket-train":
        size, seed = DEFAULT_TRAIN_SIZE if number is None else number, 0
    else:
        size, seed = 500, number or 0
    if not 1 <= size <= 200_000:
        raise PlaceboError(f"{name!r}: a training pool has 1 to 200000 problems")
    problems = stream(base, seed)
    return [next(problems) for _ in range(size)]
