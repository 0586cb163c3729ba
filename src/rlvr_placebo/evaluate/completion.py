"""The probe of contamination: does a model know how a problem goes on (arXiv 2507.10532)?"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_placebo.core.records import Problem, Verification
from rlvr_placebo.rollout.protocol import Engine, Sampling
from rlvr_placebo.text.tokenizer import Tokenizer
from rlvr_placebo.verify.judge import verify

SHARE = 0.6  # of a problem's words that are shown
BLOCK = 256


@dataclass(frozen=True)
class Continuation:
    """One problem cut in two, and how the model went on.

    Attributes:
        problem_id: which problem.
        hidden: the words that were not shown.
        written: what the model wrote instead.
        numbers: how many numbers stand in the hidden part: what no one can guess.
    """

    problem_id: str
    hidden: str
    written: str
    numbers: int

    @property
    def rouge_l(self) -> float:
        """F of the longest common subsequence of words, hidden and written (Lin 2004), 0 to 1.

        Of what was written, as many words count as were hidden.
        """
        hidden = self.hidden.split()
        written = self.written.split()[: len(hidden)]
        common = _common(hidden, written)
        return 2 * common / (len(hidden) + len(written)) if common else 0.0

    def judged(self, problem: Problem) -> Verification:
        """Whether the answer that the model went on to give is right."""
        return verify(self.written, problem.golds)

    @property
    def word_for_word(self) -> bool:
        """Whether the model wrote just the hidden words."""
        hidden = self.hidden.split()
        return self.written.split()[: len(hidden)] == hidden


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for a in one:
        before = row
        row = [0]
        for i, b in enumerate(other):
            row.append(before[i] + 1 if a == b else max(before[i + 1], row[i]))
    return row[-1]


def cut(question: str, share: float = SHARE) -> tuple[str, str]:
    """Split a question behind the first ``share`` of its words (rounded up, but for the last one).

    Example: ``cut("a b c d e")`` is ``("a b c", "d e")``.
    """
    pieces = re.findall(r"\s*\S+", question)
    shown = min(math.ceil(share * len(pieces)), len(pieces) - 1)
    return "".join(pieces[:shown]), "".join(pieces[shown:])


def completions_of(
    engine: Engine,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    share: float = SHARE,
    more: int = 4,
) -> list[Continuation]:
    """Show the model the first part of each problem and let it go on greedily.

    Args:
        engine: holds the model.
        tokenizer: the model's.
        problems: each with at least two words.
        share: of the words that is shown.
        more: tokens to write behind as many as the hidden part has.
    """
    parts = [cut(p.question, share) for p in problems]
    found = []
    for start in range(0, len(problems), BLOCK):
        block = parts[start : start + BLOCK]
        prompts = [tokenizer.prompt(shown) for shown, _ in block]
        room = [len(tokenizer.encode(hidden)) + more for _, hidden in block]
        written = engine.generate(prompts, Sampling(0.0, 1.0, max(room)), [[0]] * len(block))
        texts = [
            rows[0].text
            if len(rows[0]) <= most
            else tokenizer.decode(rows[0].tokens[:most].tolist())
            for rows, most in zip(written, room, strict=True)
        ]
        found += [
            Continuation(problem.id, hidden, text, len(re.findall(r"\d+(?:[.,]\d+)*", hidden)))
            for problem, (_, hidden), text in zip(
                problems[start : start + BLOCK], block, texts, strict=True
            )
        ]
    return found
