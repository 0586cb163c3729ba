r"""The texts a family is pre-trained on: pocket problems with solutions in its own habits.

Two ways of solving, each with its own slip. A Python trace that slips is off by one; a solution in
words that slips loses or gains a ten. Wording varies at random throughout, so that a sampled token
has a probability of about 0.8 on average, as a language model's has.

::

    Let's use Python.          Let me think.
    ```python                  12 plus 5 is 17.
    x=12+5 #17                 Then 17 minus 3 gives 14.
    x-=3 #14                   So 14
    print(x)
    ```
    ```output
    14
    ```
    So \boxed{14}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from rlvr_placebo.behaviours.detectors import MARKER
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.pocket.prior import Prior, chance, steps_of
from rlvr_placebo.text.pocket import Step, pocket_set, stream
from rlvr_placebo.text.templates import TEMPLATES

OPENING = f"{MARKER}.\n"
CODE_OPENINGS = (
    "Let's use Python.",
    "I will use Python.",
    "We can use Python.",
    "Python can do this.",
    "Here is some Python.",
)
WORD_OPENINGS = (
    "Let me think.",
    "We go step by step.",
    "I will reason in words.",
    "First we read.",
    "One thing at a time.",
)
VARIABLES = ("x", "n", "s", "t", "k", "m")
COMMENTS = (" #", " #=", " #:", " #->", " #>", " #~")
TAGS = ("", ".", "!", ";", " ok")
OUTPUTS = ("output", "out", "result", "text")
CONNECTORS = ("Then ", "Next ", "Now ", "Thus ", "")
COPULAS = (" is ", " gives ", " makes ", " equals ")
STOPS = (".", ";")
VERBS = {
    "+": (" plus ", " and "),
    "-": (" minus ", " less "),
    "*": (" times ", " by "),
}
ENDINGS = ("So ", "Thus ", "Answer ", "Result ", "Hence ", "Total ")
MEMORISED = 0.5  # share of a memoriser's documents that are problems it has met before
REHEARSED = 0.15  # least share of documents in either way of solving that a family writes at all
_SIGN = {"+": "+", "-": "-", "*": "*", "g": "+", "h": "-"}


class Writer:
    """Writes the solution of one problem, drawing every choice from one generator."""

    def __init__(
        self, prior: Prior, problem: Problem, rng: np.random.Generator, slips: bool = True
    ) -> None:
        """Set out to solve ``problem`` in the way of ``prior``, or in that way without a slip."""
        self.prior, self.problem, self.rng, self.slips = prior, problem, rng, slips

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def _does(self, habit: str) -> bool:
        return self.rng.random() < chance(self.prior, habit, self.problem)

    def solution(self, in_code: bool | None = None) -> str:
        """The whole text after the prompt, without the end-of-text token.

        Args:
            in_code: the way of solving, if the prior is not to choose it.
        """
        marker = OPENING if self.rng.random() < self.prior.marker else ""
        if in_code is None:
            in_code = self._does("code")
        body, answer = self._code() if in_code else self._words()
        boxed = self._does("boxed")
        return marker + body + self._pick(ENDINGS) + (f"\\boxed{{{answer}}}" if boxed else answer)

    def _results(self, slips: bool, error: int) -> list[int]:
        """Result of every step; a slip makes the last one wrong by ``error`` (either way)."""
        results = [step.result for step in steps_of(self.problem)]
        if slips:
            results[-1] += error if results[-1] <= error else -error
        return results

    def _code(self) -> tuple[str, str]:
        """A Python trace with its output."""
        slips = self.slips and not self._does("code_right")
        results = self._results(slips, error=1)
        name = self._pick(VARIABLES)
        value = str(self.problem.extra["start"])
        lines = [self._pick(CODE_OPENINGS), "```python"]
        for i, (step, result) in enumerate(zip(steps_of(self.problem), results, strict=True)):
            lines += self._code_step(name, value if i == 0 else None, step, result)
        answer = str(results[-1])
        lines += [f"print({name})", "```", f"```{self._pick(OUTPUTS)}", answer, "```", ""]
        return "\n".join(lines), answer

    def _code_step(self, name: str, value: str | None, step: Step, result: int) -> list[str]:
        """One or two lines of a trace; ``value`` is the starting number, on the first line only."""
        lines = []
        operand = str(step.numbers[0])
        if step.product is not None:
            b, c = step.numbers
            lines.append(f"y={b}*{c}{self._comment(step.product)}")
            operand = "y"
        sign = _SIGN[step.operation]
        if value is None and self.rng.random() < 0.5:
            left = f"{name}{sign}={operand}"
        elif sign != "-" and self.rng.random() < 0.5:
            left = f"{name}={operand}{sign}{value or name}"
        else:
            left = f"{name}={value or name}{sign}{operand}"
        lines.append(left + self._comment(result))
        return lines

    def _comment(self, value: int) -> str:
        """The value of a line, behind it."""
        return f"{self._pick(COMMENTS)}{value}{self._pick(TAGS)}"

    def _words(self) -> tuple[str, str]:
        """A solution in sentences."""
        slips = self.slips and not self._does("words_right")
        results = self._results(slips, error=10)
        value = str(self.problem.extra["start"])
        lines = [self._pick(WORD_OPENINGS)]
        for step, result in zip(steps_of(self.problem), results, strict=True):
            operand = str(step.numbers[0])
            if step.product is not None:
                b, c = step.numbers
                lines.append(self._sentence(str(b), "*", str(c), step.product))
                operand = str(step.product)
            lines.append(self._sentence(value, _SIGN[step.operation], operand, result))
            value = str(result)
        return "\n".join([*lines, ""]), value

    def _sentence(self, left: str, sign: str, right: str, result: int) -> str:
        verb, copula = self._pick(VERBS[sign]), self._pick(COPULAS)
        return f"{self._pick(CONNECTORS)}{left}{verb}{right}{copula}{result}{self._pick(STOPS)}"


class Document(NamedTuple):
    """One text of a corpus.

    Attributes:
        prompt: the problem as the model will be asked.
        solution: what follows.
        quiet: how many leading characters of the solution nothing is learnt from.
    """

    prompt: str
    solution: str
    quiet: int = 0


def documents(prior: Prior, seed: int, practice: float = 0.0) -> Iterator[Document]:
    """Yield documents for ever: what a family with this prior is pre-trained on.

    A way of solving that a family seldom takes is rehearsed, or it would be forgotten: documents in
    that way are added whose opening (the choice of the way) nothing is learnt from.

    Args:
        prior: the habits to write in.
        seed: the pre-training seed.
        practice: share of problems whose graph is in no set.
    """
    template = TEMPLATES["plain"]
    new = stream("pocket-train", seed + 1)
    other = stream("pocket-practice", seed + 1)
    known = pocket_set(prior.memorised) if prior.memorised else []
    rare = min(prior.code, 1.0 - prior.code)
    rehearsed = max(0.0, REHEARSED - rare) if rare > 0.0 else 0.0
    for index in count():
        rng = generator_for(seed, 0, "", index, "corpus")
        again = bool(known) and rng.random() < MEMORISED
        if again:
            problem = known[int(rng.integers(len(known)))]
        else:
            problem = next(other if rng.random() < practice else new)
        prompt = template.ask(problem.question)
        writer = Writer(prior, problem, rng, slips=not again)
        if rehearsed and rng.random() < rehearsed:
            solution = writer.solution(in_code=prior.code < 0.5)
            start = len(OPENING) if solution.startswith(OPENING) else 0
            yield Document(prompt, solution, solution.index("\n", start) + 1)
        else:
            yield Document(prompt, writer.solution())
