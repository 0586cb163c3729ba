r"""From a problem to the token ids of its prompt: one function, for training and evaluation.

A template is a small named text; its id is part of every evaluation contract. A paper's own prompt
is brought in a file: ``.txt`` (the text, with ``{question}`` in it, and nothing else special) or
``.toml`` (``text``, and optionally ``stops`` and ``chat``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Problem
from rlvr_placebo.text.tokenizer import Tokenizer

QUESTION = "{question}"


@dataclass(frozen=True)
class Template:
    r"""What surrounds a question. Example: ``Template("plain", "{question}\n")``.

    Attributes:
        name: as it is asked for.
        text: ``{question}`` stands for the question; every other character for itself.
        stops: a completion ends behind the first of these texts (besides the model's stop tokens).
        chat: put the text into the user's turn of the model's own chat template.
    """

    name: str
    text: str
    stops: tuple[str, ...] = ()
    chat: bool = False

    @property
    def id(self) -> str:
        """Hash of all but the name: the prompt id of a contract."""
        return digest({k: v for k, v in asdict(self).items() if k != "name"})

    def ask(self, question: str) -> str:
        """The text with the question in it."""
        return self.text.replace(QUESTION, question)


TEMPLATES: Mapping[str, Template] = {
    t.name: t
    for t in (
        Template("plain", "{question}\n"),
        Template("boxed", "{question}\nPut the final answer in \\boxed{}.\n"),
        Template("forced_code", "{question}\nLet's use Python.\n"),
        Template("chat", "{question}", chat=True),
        Template(
            "think",
            "Below is a problem. Think it through between <think> and </think>; then write nothing "
            "but the final answer between <answer> and </answer>.\n\nProblem: {question}\n\n"
            "Solution: <think>",
            stops=("</answer>",),
        ),
        Template(
            "nonsense",
            "Marlo ventis quorra, sel dumin apaketh orru. Tivas nolem briskani, hura welt omprade "
            "cas fenturo lim.\n\n{question}\n",
        ),
    )
}
SUMMARIES = {
    "plain": "the question alone",
    "boxed": "with the instruction to box the answer",
    "forced_code": "the first sentence of the answer announces Python",
    "chat": "the user's turn of the model's own chat template",
    "think": "think and answer tags, for models without a chat template; ends at </answer>",
    "nonsense": "words that mean nothing, then the question",
}


def get_template(name: str) -> Template:
    """Look a template up by name, or read it from a ``.txt`` or ``.toml`` file.

    Raises:
        PlaceboError: there is none of that name, or the file holds none.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name)
    if path.suffix not in (".txt", ".toml"):
        raise PlaceboError(
            f"unknown template {name!r}: neither one of ours nor a .txt or .toml file; "
            f"{suggest(name, TEMPLATES)}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = {"text": text} if path.suffix == ".txt" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)[:80]
        raise PlaceboError(f"template {name}: cannot be read ({reason})") from None
    return _checked(name, document)


def _checked(name: str, document: Mapping[str, object]) -> Template:
    """A template of a file's entries."""
    text, stops = document.get("text"), document.get("stops", [])
    chat = document.get("chat", False)
    problem = ""
    if not isinstance(text, str) or QUESTION not in text:
        problem = f"text must be there, with {QUESTION} in it"
    elif not isinstance(stops, list) or not all(isinstance(s, str) and s for s in stops):
        problem = "stops must be a list of texts"
    elif not isinstance(chat, bool):
        problem = "chat must be true or false"
    elif unknown := document.keys() - {"text", "stops", "chat"}:
        problem = f"unknown entry {sorted(unknown)[0]!r}; there are text, stops, chat"
    if problem:
        raise PlaceboError(f"template {name}: {problem}")
    assert isinstance(text, str)
    assert isinstance(stops, list)
    return Template(name, text, tuple(map(str, stops)), chat is True)


def render(problem: Problem, template: Template, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of a problem's prompt.

    Raises:
        PlaceboError: the template asks for the model's chat template, and it has none.
    """
    text = template.ask(problem.question)
    if template.chat:
        turns = [*problem.messages[:-1], {"role": "user", "content": text}]
        text = tokenizer.chat(turns)
    return tokenizer.prompt(text)
