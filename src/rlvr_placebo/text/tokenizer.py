"""The tokenizer of a checkpoint, without torch: ``tokenizer.json`` read by ``tokenizers``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tokenizers import Tokenizer as FastTokenizer

from rlvr_placebo.core.errors import PlaceboError

if TYPE_CHECKING:
    from jinja2 import Template as JinjaTemplate

_PROBE = "Ada has 12 pens.\n```python\nx=12+5 #17\n```\nSo \\boxed{17}"


def _declared(folder: Path) -> dict[str, Any]:
    """What ``tokenizer_config.json`` says."""
    path = folder / "tokenizer_config.json"
    try:
        declared = json.loads(path.read_text()) if path.exists() else {}
    except OSError as error:
        raise PlaceboError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise PlaceboError(f"{path}: not JSON ({error})") from None
    if not isinstance(declared, dict):
        raise PlaceboError(f"{path}: not a JSON object")
    return declared


def _text_of(token: object) -> str | None:
    """A special token's text, as a text or as an object with its content."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _chat_template(folder: Path, declared: Mapping[str, Any]) -> str | None:
    """The chat template: in a file of its own, or in the tokenizer's configuration."""
    path = folder / "chat_template.jinja"
    if path.exists():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise PlaceboError(f"{path}: cannot be read ({error})") from None
    found = declared.get("chat_template")
    if isinstance(found, list):  # several, by name
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


@cache
def _generation() -> type:
    """The tag by which templates mark what an assistant writes; here it marks nothing."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 (jinja2's own way)

        def parse(self, parser: Any) -> Any:  # noqa: ANN401 (jinja2's)
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    return Generation


@cache
def _compiled(template: str) -> JinjaTemplate:
    """Compile a chat template as the library that defines them does: sandboxed, blocks trimmed."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise ValueError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation()]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(
        value, ensure_ascii=False, **how
    )
    return environment.from_string(template, globals={"raise_exception": refuse})


class Tokenizer:
    """Text to token ids and back, with the checkpoint's stop tokens.

    Attributes:
        files: the checkpoint's tokenizer files, copied into every checkpoint written from it.
        bos: id that must stand first in a prompt, or None.
        stops: ids that end a completion.
        chat_template: of the checkpoint (Jinja), or None.
    """

    FILES = (
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
    )

    def __init__(self, folder: Path, stops: Sequence[int]) -> None:
        """Load from a checkpoint folder.

        Args:
            folder: where ``tokenizer.json`` lies.
            stops: end-of-text ids, from the checkpoint's generation configuration.

        Raises:
            PlaceboError: the file is missing or broken, or does not give back text it encoded.
        """
        path = folder / "tokenizer.json"
        if not path.exists():
            raise PlaceboError(f"{folder}: has no tokenizer.json; a fast tokenizer is required")
        try:
            self._fast = FastTokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 (the library raises bare Exception)
            raise PlaceboError(f"{path}: cannot be read ({error})") from None
        self.files = [folder / name for name in self.FILES if (folder / name).exists()]
        self.folder = folder
        self.stops = tuple(stops)
        declared = _declared(folder)
        self._special_texts = {
            name: text
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
            if (text := _text_of(declared.get(name)))
        }
        self.bos = self._declared_bos(folder, declared)
        self.chat_template = _chat_template(folder, declared)
        if self.decode(self.encode(_PROBE)) != _PROBE:
            raise PlaceboError(f"{path}: does not give back the text it encodes; wrong tokenizer?")

    def _declared_bos(self, folder: Path, declared: Mapping[str, Any]) -> int | None:
        """Id of the beginning-of-text token, where the checkpoint asks for one.

        It asks by ``add_bos_token``, or (as Llama 3 does) by what ``tokenizer.json`` puts first.
        """
        if not declared.get("bos_token") or not declared.get("add_bos_token"):
            return self._put_first() if declared.get("add_bos_token") is None else None
        token = _text_of(declared["bos_token"])
        number = self._fast.token_to_id(token) if token else None
        if number is None:
            path = folder / "tokenizer_config.json"
            raise PlaceboError(f"{path}: bos_token {token!r} is not in the vocabulary")
        return number

    def _put_first(self) -> int | None:
        """The one special token that ``tokenizer.json`` itself puts before a text."""
        plain, whole = (
            self._fast.encode(_PROBE, add_special_tokens=special).ids for special in (False, True)
        )
        return whole[0] if whole[1 : len(plain) + 1] == plain else None

    @property
    def size(self) -> int:
        """Number of ids, special tokens included."""
        return self._fast.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; no special token is added."""
        return self._fast.encode(text, add_special_tokens=False).ids

    def prompt(self, text: str) -> tuple[int, ...]:
        """Token ids of a text that a model is to go on from.

        The beginning-of-text token stands first once, where the checkpoint asks for one.
        """
        tokens = self.encode(text)
        start = [] if self.bos is None or tokens[:1] == [self.bos] else [self.bos]
        return (*start, *tokens)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages in the checkpoint's chat template, up to where the model goes on.

        Raises:
            PlaceboError: the checkpoint has no chat template, or it fails.
        """
        if self.chat_template is None:
            raise PlaceboError(
                f"{self.folder}: has no chat template; choose another template (for a base model: "
                "think)"
            )
        try:
            return _compiled(self.chat_template).render(
                messages=[dict(m) for m in messages], add_generation_prompt=True,
                **self._special_texts,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 (a template may fail in any way)
            raise PlaceboError(f"{self.folder}: its chat template fails ({error})") from None

    def special(self, text: str) -> int | None:
        """Id of a special token that is spelt like this; texts leave it out."""
        number = self._fast.token_to_id(text)
        known = self._fast.get_added_tokens_decoder().get(number) if number is not None else None
        return number if known is not None and known.special else None

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts."""
        return [e.ids for e in self._fast.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids, special tokens dropped."""
        return self._fast.decode(list(tokens), skip_special_tokens=True)

    def decode_many(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of many rows of token ids, special tokens dropped."""
        return self._fast.decode_batch([list(row) for row in rows], skip_special_tokens=True)
