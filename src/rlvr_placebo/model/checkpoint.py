"""Checkpoints in Hugging Face format: found by name, read, and written so that others read them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import save_file

from rlvr_placebo.core.errors import PlaceboError, UnsupportedError
from rlvr_placebo.core.files import digest, file_digest, write_json
from rlvr_placebo.model import adapter
from rlvr_placebo.model.architecture import Architecture, from_hf
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.device import AUTO, check_device, place
from rlvr_placebo.model.folders import (
    INDEX,
    all_tensors,
    base_of,
    locate,
    read_json,
    read_tensors,
    stop_tokens,
    weight_files,
)
from rlvr_placebo.model.foreign import Foreign, load_foreign, read_foreign
from rlvr_placebo.text.tokenizer import Tokenizer

UNTIED = "lm_head.weight is not the embeddings, which tie_word_embeddings says it is"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with its tokenizer, as loaded.

    Attributes:
        model: the decoder; its weights are float32.
        tokenizer: with the stop tokens of the generation configuration.
        digest: hash of the weight files and the configuration; names the untrained model.
    """

    model: Decoder
    tokenizer: Tokenizer
    digest: str


def read_architecture(folder: Path) -> Architecture:
    """The shape that a checkpoint's ``config.json`` describes.

    Raises:
        PlaceboError: it is missing, broken, or of a kind that nobody knows.
    """
    folder = base_of(folder) or folder
    return own_architecture(folder) or read_foreign(folder)


def own_architecture(folder: Path) -> Architecture | None:
    """The shape of a model that our decoder computes; None of another's."""
    path = folder / "config.json"
    try:
        return from_hf(read_json(path), str(path))
    except UnsupportedError:
        return None


def load_model(folder: Path) -> Decoder:
    """Build the decoder of a checkpoint and load its weights as float32; an adapter's are added.

    An architecture that is not ours goes through ``transformers``
    (:mod:`rlvr_placebo.model.foreign`).

    Raises:
        PlaceboError: configuration or weights are missing, broken, or do not fit each other.
    """
    if base := base_of(folder):
        model = load_model(base)
        adapter.merge_adapter(model, folder, read_tensors(folder / adapter.WEIGHTS))
        return model
    architecture = own_architecture(folder)
    if architecture is None:
        weight_files(folder)  # ours to name, where one is missing
        return load_foreign(folder)
    tensors = all_tensors(folder)
    if architecture.tied:
        head = tensors.pop("lm_head.weight", None)
        embedded = tensors.get("model.embed_tokens.weight")
        if head is not None and embedded is not None and not torch.equal(head, embedded):
            raise PlaceboError(f"{folder}: {UNTIED}")
    with torch.device("meta"):
        model = Decoder(architecture)
    for _, _, says in misfits(model, {name: tuple(t.shape) for name, t in tensors.items()}):
        raise PlaceboError(f"{folder}: {says}")
    for name in sorted(tensors):
        if not is_finite(tensors[name]):
            raise PlaceboError(f"{folder}: {name} holds values that are not finite numbers")
    tensors = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    model.load_state_dict(tensors, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def misfits(
    model: Decoder, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, str, str]]:
    """What config.json asks for and the weights do not have, and the other way round.

    Args:
        model: of the configuration.
        shapes: of the weights, by name.

    Yields:
        Tensor by tensor in the order of their names: the kind of misfit (``lack``, ``hold`` or
        ``shape``), the name, and a sentence.
    """
    wanted = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        got, asked = shapes.get(name), wanted.get(name)
        if got is None:
            yield "lack", name, f"the weights lack {name}, which config.json asks for"
        elif asked is None:
            yield "hold", name, f"the weights hold {name}, unknown to config.json"
        elif got != asked:
            yield "shape", name, f"{name} has shape {got}, config.json says {asked}"


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether all its values are finite numbers."""
    return tensor.is_floating_point() and bool(torch.isfinite(tensor.float()).all())


def distance(one: Path, other: Path) -> float:
    """Euclidean distance of the weights of two checkpoints of one architecture."""
    first, second = all_tensors(one), all_tensors(other)
    squares = [(first[name] - second[name]).double().square().sum() for name in first]
    return float(torch.stack(squares).sum().sqrt())


def load(name: str, device: str = AUTO) -> Checkpoint:
    """Load a checkpoint by name, to a device.

    Args:
        name: see :func:`locate`.
        device: see :func:`rlvr_placebo.model.device.choose`.

    Raises:
        PlaceboError: it cannot be found, read, or does not fit together; or no such device.
    """
    check_device(device)
    folder = locate(name)
    model = load_model(folder)
    tokenizer = load_tokenizer(folder)
    ids, rows = (
        max(tokenizer.size, *(s + 1 for s in tokenizer.stops)),
        model.architecture.vocab_size,
    )
    if ids > rows:
        raise PlaceboError(
            f"{folder}: the tokenizer has ids up to {ids - 1}, the model {rows} rows"
        )
    place(model, device)
    return Checkpoint(model, tokenizer, digest_of(folder, tokenizer))


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a checkpoint, with the stop tokens it declares.

    An adapter without a tokenizer, or stop tokens, of its own has those of its model.
    """
    base = base_of(folder) if (folder / adapter.CONFIG).exists() else None
    if base and not (folder / "tokenizer.json").exists():
        folder = base
    declares = (folder / "generation_config.json").exists() or not base
    return Tokenizer(folder, stop_tokens(folder if declares else base or folder))


def digest_of(folder: Path, tokenizer: Tokenizer) -> str:
    """Hash of everything in a checkpoint that decides what it generates."""
    base = base_of(folder)
    if base:
        paths = [folder / adapter.WEIGHTS, folder / adapter.CONFIG]
    else:
        paths = [*weight_files(folder), folder / "config.json"]
    files = {p.relative_to(folder).as_posix(): file_digest(p) for p in paths}
    files |= {p.name: file_digest(p) for p in tokenizer.files}  # an adapter's may be its model's
    if base:
        files["base"] = digest_of(base, load_tokenizer(base))
    return digest({**files, "stops": list(tokenizer.stops)})


SHARD = 5_000_000_000  # bytes of a weight file, at most


def save(
    model: Decoder, tokenizer: Tokenizer, folder: Path, base: str = "",
    precision: str = "float32",
) -> None:  # fmt: skip
    """Write a checkpoint that ``transformers`` loads, atomically: the folder appears complete.

    Args:
        model: the decoder; written under Hugging Face names, unfused, in files of 5 GB.
        tokenizer: its files are copied as they are.
        folder: must not exist, or be empty.
        base: name or folder of the model whose adapters are to be written, and nothing else.
        precision: of whole models as they are written; ``bfloat16`` rounds.

    Raises:
        PlaceboError: the folder holds something.
        OSError: the disk is full, or the like.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    name = f".{folder.name}."
    partial = Path(tempfile.mkdtemp(prefix=name, suffix=".partial", dir=folder.parent))
    try:
        partial.chmod(0o755)
        if base:
            adapter.save_adapter(model, str(Path(base).resolve()) if Path(base).is_dir() else base,
                                 partial)  # fmt: skip
            write_json(partial / "generation_config.json", _special(tokenizer.stops))
        elif isinstance(model, Foreign):
            kind = getattr(torch, precision)
            state, copies = model.theirs.state_dict(), {}
            for tensor in state.values():  # what is one tensor, a tied head, stays one
                copies.setdefault(tensor.data_ptr(), tensor.to("cpu", kind))
            tensors = {name: copies[tensor.data_ptr()] for name, tensor in state.items()}
            model.theirs.save_pretrained(partial, state_dict=tensors, max_shard_size=SHARD)
            config = partial / "config.json"
            write_json(config, {**read_json(config), "dtype": precision})
            write_json(
                partial / "generation_config.json",
                {**_special(tokenizer.stops), "do_sample": False},
            )
        else:
            _write_weights(model, partial, getattr(torch, precision))
            write_configuration(model.architecture, tokenizer.stops, partial, precision)
        for path in tokenizer.files:
            shutil.copyfile(path, partial / path.name)
        _sync(partial)
        if folder.exists() and any(folder.iterdir()):
            raise PlaceboError(f"{folder}: is not empty; choose another folder")
        partial.rename(folder)
    except SafetensorError as error:
        raise OSError(f"{folder}: cannot be written ({error})") from None
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def _write_weights(model: Decoder, folder: Path, kind: torch.dtype) -> None:
    """Write weights as one file, or as several with an index."""
    state = model.state_dict()
    plan = split_torch_state_dict_into_shards(state, max_shard_size=SHARD)
    for name, members in plan.filename_to_tensors.items():
        tensors = {k: state[k].detach().to("cpu", kind).contiguous() for k in members}
        save_file(tensors, folder / name, metadata={"format": "pt"})
    if plan.is_sharded:
        size = sum(tensor.numel() for tensor in state.values()) * kind.itemsize
        named = {"metadata": {"total_size": size}, "weight_map": plan.tensor_to_filename}
        write_json(folder / INDEX, named)


def write_configuration(
    a: Architecture, stops: tuple[int, ...], folder: Path, precision: str = "float32"
) -> None:
    """Write ``config.json`` and ``generation_config.json``."""
    special = _special(stops)
    write_json(folder / "config.json", {**a.to_hf(), "dtype": precision, **special})
    write_json(folder / "generation_config.json", {**special, "do_sample": False})


def _special(stops: tuple[int, ...]) -> dict[str, Any]:
    """The tokens that end a text, and the one that pads it."""
    eos = list(stops) if len(stops) > 1 else (stops[0] if stops else None)
    return {"eos_token_id": eos, "pad_token_id": stops[0] if stops else None}


def _sync(folder: Path) -> None:
    """Flush every file of a folder to the disk before it is renamed."""
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
