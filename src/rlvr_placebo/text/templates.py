r"""From a problem to the token ids of its prompt: one function, for training and evaluation.

A template is a small named text; its id is part of every evaluation contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Problem
from rlvr_placebo.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Template:
    r"""What surrounds a question. Example: ``Template("plain", "{question}\n")``."""

    name: str
    text: str

    @property
    def id(self) -> str:
        """Hash of the text: the prompt id of a contract."""
        return digest(self.text)


TEMPLATES: Mapping[str, Template] = {
    t.name: t
    for t in (
        Template("plain", "{question}\n"),
        Template("boxed", "{question}\nPut the final answer in \\boxed{{}}.\n"),
        Template("forced_code", "{question}\nLet's use Python.\n"),
    )
}


def get_template(name: str) -> Template:
    """Look a template up by name.

    Raises:
        PlaceboError: there is none of that name.
    """
    if name not in TEMPLATES:
        raise PlaceboError(f"unknown template {name!r}; {suggest(name, TEMPLATES)}")
    return TEMPLATES[name]


def render(problem: Problem, template: Template, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of a problem's prompt."""
    return tokenizer.prompt(template.text.format(question=problem.question))
