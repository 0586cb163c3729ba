"""What is wrong with a checkpoint, all of it at once, before anything is trained with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.model import adapter
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.checkpoint import (
    UNTIED,
    is_finite,
    load_model,
    load_tokenizer,
    misfits,
    own_architecture,
    read_architecture,
)
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.folders import base_of, read_tensors, stop_tokens, weight_files
from rlvr_placebo.model.published import parameters
from rlvr_placebo.text.tokenizer import Tokenizer

TIED = ("lm_head.weight", "model.embed_tokens.weight")
SHOWN = 3  # names of tensors
ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>")  # of a turn, as is usual


@dataclass(frozen=True)
class Remark:
    """One thing that was looked at. Example: ``Remark("weights", "2 shards, bfloat16", "ok")``.

    Attributes:
        about: configuration, weights, tokenizer, stops or chat.
        says: in words.
        status: ``ok``, ``note`` (works, but should be known) or ``wrong``.
    """

    about: str
    says: str
    status: str = "ok"


def check_checkpoint(
    folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Remark]:
    """Look at everything that a checkpoint has to have, and go on where something is wrong.

    Args:
        folder: of the checkpoint.
        progress: told of tensors read, and how many there are.
    """
    remarks: list[Remark] = []
    if (folder / adapter.CONFIG).exists() and not (folder / "config.json").exists():
        return _adapter(folder, progress)
    shape = _try(remarks, "configuration", lambda: read_architecture(folder))
    ours = shape is not None and own_architecture(folder) is not None
    if shape:
        remarks.append(_about_shape(shape, ours))
    remarks += _weights(folder, shape if ours else None, progress)
    if shape and not ours and all(remark.status != "wrong" for remark in remarks):
        _try(remarks, "forward pass", lambda: load_model(folder))  # only it can tell
    stops = _try(remarks, "stops", lambda: stop_tokens(folder))
    if not (folder / "generation_config.json").exists():
        remarks.append(Remark("stops", "no generation_config.json: taken from config.json", "note"))
    tokenizer = _try(remarks, "tokenizer", lambda: load_tokenizer(folder)) if stops else None
    if tokenizer:
        remarks += _tokenizer(tokenizer, shape)
    return remarks


def _adapter(folder: Path, progress: Callable[[int, int], None]) -> list[Remark]:
    """Of adapters: their own files, then the model that they belong to."""
    remarks: list[Remark] = []
    base = _try(remarks, "adapter", lambda: base_of(folder))
    tensors = _try(remarks, "adapter", lambda: read_tensors(folder / adapter.WEIGHTS))
    if tensors is not None:
        broken = sorted(name for name, tensor in tensors.items() if not is_finite(tensor))
        remarks.append(Remark("adapter", f"{len(tensors)} tensors, of the model {base}"))
        if broken:
            remarks.append(Remark("adapter", f"not finite numbers: {_some(broken)}", "wrong"))
    if base is None:
        return remarks
    if tensors is not None:
        _try(remarks, "adapter", lambda: load_model(folder))
    _try(remarks, "tokenizer", lambda: load_tokenizer(folder))
    return remarks + check_checkpoint(base, progress)


def _try(remarks: list[Remark], about: str, look: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What a look finds, or None and a remark."""
    try:
        return look()
    except PlaceboError as error:
        remarks.append(Remark(about, str(error), "wrong"))
        return None


def _about_shape(a: Architecture, ours: bool) -> Remark:
    if not ours:
        says = f"{a.model_type}: not ours, through transformers' own forward pass, which is slower"
        return Remark("configuration", says, "note")
    heads = f"{a.heads} heads over {a.kv_heads}"
    says = (f"{a.model_type}, {parameters(a) / 1e6:,.1f} M parameters, {a.layers} layers, {heads}, "
            f"{a.vocab_size:,} tokens, {a.max_positions:,} positions")  # fmt: skip
    return Remark("configuration", says)


def _weights(
    folder: Path, shape: Architecture | None, progress: Callable[[int, int], None]
) -> Iterator[Remark]:
    """Names, shapes, kinds of numbers, and whether all of them are finite."""
    try:
        files = weight_files(folder)
        found = {name: path for path in files for name in _names(path)}
    except PlaceboError as error:
        yield Remark("weights", str(error), "wrong")
        return
    shapes: dict[str, tuple[int, ...]] = {}
    kinds: Counter[str] = Counter()
    broken = []
    for done, (name, path) in enumerate(sorted(found.items()), start=1):
        tensor = _tensor((name, path))
        shapes[name] = tuple(tensor.shape)
        kinds[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
        if not is_finite(tensor):
            broken.append(name)
        progress(done, len(found))
    said = ", ".join(f"{count / 1e6:,.1f} M {kind}" for kind, count in kinds.most_common())
    yield Remark("weights", f"{len(files)} file{'s' if len(files) > 1 else ''}: {said}")
    if broken:
        yield Remark("weights", f"not finite numbers: {_some(broken)}", "wrong")
    if shape:
        yield from _fit(shape, shapes)
        pair = [(name, found[name]) for name in TIED if name in found]
        if shape.tied and len(pair) == len(TIED) and not torch.equal(*map(_tensor, pair)):
            yield Remark("weights", UNTIED, "wrong")


def _tensor(place: tuple[str, Path]) -> torch.Tensor:
    """A tensor by its name and file."""
    name, path = place
    with safe_open(path, framework="pt") as tensors:
        return tensors.get_tensor(name)


def _names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="pt") as tensors:
            return list(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise PlaceboError(f"{path}: unreadable or truncated ({error})") from None


def _fit(shape: Architecture, found: dict[str, tuple[int, ...]]) -> Iterator[Remark]:
    """What config.json asks for and the weights do not have, and the other way round."""
    with torch.device("meta"):
        model = Decoder(shape)
    if shape.tied:
        found = {name: size for name, size in found.items() if name != "lm_head.weight"}
    faults = list(misfits(model, found))
    if missing := [name for kind, name, _ in faults if kind == "lack"]:
        yield Remark("weights", f"lack {_some(missing)}, which config.json asks for", "wrong")
    if more := [name for kind, name, _ in faults if kind == "hold"]:
        yield Remark("weights", f"hold {_some(more)}, unknown to config.json", "wrong")
    for kind, _, says in faults:
        if kind == "shape":
            yield Remark("weights", says, "wrong")


def _some(names: Any) -> str:  # noqa: ANN401 (any collection)
    ordered = sorted(names)
    rest = len(ordered) - SHOWN
    return ", ".join(ordered[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _tokenizer(tokenizer: Tokenizer, shape: Architecture | None) -> Iterator[Remark]:
    """Vocabulary, first token, stops, and the chat template."""
    first = "none" if tokenizer.bos is None else str(tokenizer.bos)
    stops = ", ".join(map(str, tokenizer.stops))
    yield Remark("tokenizer", f"{tokenizer.size:,} ids; first token: {first}; stops: {stops}")
    ids = max(tokenizer.size, *(stop + 1 for stop in tokenizer.stops))
    if shape and ids > shape.vocab_size:
        says = f"has ids up to {ids - 1}, the model {shape.vocab_size} rows"
        yield Remark("tokenizer", says, "wrong")
    if tokenizer.chat_template is None:
        yield Remark("chat", "no chat template: a base model; the paper asks it by `think`", "note")
        return
    try:
        text = tokenizer.chat([{"role": "user", "content": "1 + 1?"}])
    except PlaceboError as error:
        yield Remark("chat", str(error), "wrong")
        return
    yield Remark("chat", f"the template renders, {len(tokenizer.encode(text))} tokens for 1 + 1?")
    for end in ENDS:
        ids_of_end = tokenizer.encode(end)
        if end in tokenizer.chat_template and len(ids_of_end) == 1:
            if ids_of_end[0] not in tokenizer.stops:
                says = f"turns end in {end}, which is no stop token: completions run on"
                yield Remark("chat", says, "note")
            return
