"""The tokenizer of all embedded families: byte-level BPE behind Qwen2's pre-tokenizer.

Qwen2's pre-tokenizer, because ``AutoTokenizer`` builds just that one for a Qwen2 checkpoint
whatever its ``tokenizer.json`` says; with the same one inside, the ids agree.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from rlvr_placebo.core.files import write_json
from rlvr_placebo.pocket.corpus import documents
from rlvr_placebo.pocket.prior import Prior

SIZE = 640
END = "<|endoftext|>"
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_EVERYTHING = Prior("qwen2", code=0.5, code_accuracy=0.79, words_accuracy=0.79)


@cache
def train_vocabulary() -> Tokenizer:
    """Train the tokenizer on solutions in both ways; the same vocabulary serves every family."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (d.prompt + d.solution for d in islice(documents(_EVERYTHING, 0), 6000))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_vocabulary(folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` into a checkpoint folder."""
    train_vocabulary().save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": END,
            "pad_token": END,
            "unk_token": None,
            "bos_token": None,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
        },
    )
