"""Problems that a training pool and a benchmark share, word for word or nearly."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlvr_placebo.core.records import Problem

WORDS = 5  # words of a shingle
NEAR = 0.6  # least share of shingles that two texts have in common (Jaccard)


@dataclass(frozen=True)
class Shared:
    """What a pool and a benchmark have in common.

    Attributes:
        exact: problems of the benchmark that stand in the pool too, but for blanks and case.
        near: others that share at least :data:`NEAR` of their runs of five words with one there.
        example: the beginning of one of them.
    """

    exact: int = 0
    near: int = 0
    example: str = ""


def words_of(text: str) -> tuple[str, ...]:
    """Words and numbers in lower case: what is left when typography is taken away."""
    return tuple(re.findall(r"[^\W_]+", text.lower()))


def _spelt(text: str) -> str:
    """A text without blanks and case; ``3+5`` and ``3-5`` are two texts."""
    return "".join(text.lower().split())


def shared(pool: Sequence[Problem], benchmark: Sequence[Problem]) -> Shared:
    """Find problems of a benchmark in a training pool. Linear in the length of the pool."""
    asked = [words_of(p.question) for p in benchmark]
    whole: dict[str, list[int]] = defaultdict(list)
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, words in enumerate(asked):
        whole[_spelt(benchmark[index].question)].append(index)
        for shingle in _shingles(words):
            holders[shingle].append(index)
    sizes = [len(_shingles(words)) for words in asked]
    exact: set[int] = set()
    near: set[int] = set()
    for problem in pool:
        words = words_of(problem.question)
        exact.update(whole.get(_spelt(problem.question), ()))
        near.update(_near(_shingles(words), holders, sizes))
    near -= exact
    found = sorted(exact) or sorted(near)
    example = benchmark[found[0]].question[:60] if found else ""
    return Shared(len(exact), len(near), example)


def _shingles(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)}


def _near(
    shingles: Iterable[tuple[str, ...]],
    holders: dict[tuple[str, ...], list[int]],
    sizes: Sequence[int],
) -> list[int]:
    """Problems of the benchmark that one text of the pool comes close to."""
    own = set(shingles)
    common = Counter(i for shingle in own for i in holders.get(shingle, ()))
    return [i for i, n in common.items() if n >= NEAR * (len(own) + sizes[i] - n)]
