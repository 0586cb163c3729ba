"""The tokenizer of a checkpoint, without torch: ``tokenizer.json`` read by ``tokenizers``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from rlvr_placebo.core.errors import PlaceboError

_PROBE = "Ada has 12 pens.\n```python\nx=12+5 #17\n```\nSo \\boxed{17}"


class Tokenizer:
    """Text to token ids and back, with the checkpoint's stop tokens.

    Attributes:
        files: the checkpoint's tokenizer files, copied into every checkpoint written from it.
        bos: id that must stand first in a prompt, or None.
        stops: ids that end a completion.
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
        self.stops = tuple(stops)
        self.bos = self._declared_bos(folder)
        if self.decode(self.encode(_PROBE)) != _PROBE:
            raise PlaceboError(f"{path}: does not give back the text it encodes; wrong tokenizer?")

    def _declared_bos(self, folder: Path) -> int | None:
        """Id of the beginning-of-text token, where the checkpoint asks for one."""
        path = folder / "tokenizer_config.json"
        try:
            declared = json.loads(path.read_text()) if path.exists() else {}
        except ValueError as error:
            raise PlaceboError(f"{path}: not JSON ({error})") from None
        if not isinstance(declared, dict):
            raise PlaceboError(f"{path}: not a JSON object")
        token = declared.get("bos_token")
        token = token.get("content") if isinstance(token, dict) else token
        if not token or not declared.get("add_bos_token"):
            return None
        number = self._fast.token_to_id(token) if isinstance(token, str) else None
        if number is None:
            raise PlaceboError(f"{path}: bos_token {token!r} is not in the vocabulary")
        return number

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
        start = () if self.bos is None else (self.bos,)
        return (*start, *self.encode(text))

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts."""
        return [e.ids for e in self._fast.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids, special tokens dropped."""
        return self._fast.decode(list(tokens), skip_special_tokens=True)

    def decode_many(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of many rows of token ids, special tokens dropped."""
        return self._fast.decode_batch([list(row) for row in rows], skip_special_tokens=True)
