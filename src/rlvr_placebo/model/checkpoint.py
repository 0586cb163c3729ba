"""Checkpoints in Hugging Face format: found by name, read, and written so that others read them."""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rlvr_placebo.core.errors import PlaceboError, UnsupportedError, first_line, suggest
from rlvr_placebo.core.files import cache_folder, digest, file_digest, write_json
from rlvr_placebo.core.hub import reachable
from rlvr_placebo.model import adapter
from rlvr_placebo.model.architecture import Architecture, from_hf
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.foreign import Foreign, load_foreign, read_foreign
from rlvr_placebo.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with its tokenizer, as loaded.

    Attributes:
        model: the decoder, float32, on the CPU.
        tokenizer: with the stop tokens of the generation configuration.
        digest: hash of the weight files and the configuration; names the untrained model.
    """

    model: Decoder
    tokenizer: Tokenizer
    digest: str


def shipped_families() -> dict[str, Path]:
    """The embedded families: ``pocket/<name>`` and where its checkpoint lies."""
    return _families(Path(str(importlib.resources.files("rlvr_placebo"))) / "checkpoints")


def built_families() -> dict[str, Path]:
    """Varieties of the embedded families that were built here, in the same form."""
    return _families(cache_folder() / "pocket")


def _families(root: Path) -> dict[str, Path]:
    return {f"pocket/{p.name}": p for p in sorted(root.glob("*")) if (p / "config.json").exists()}


def locate(name: str) -> Path:
    """Find the folder of a checkpoint: an embedded family, a path, or a hub id.

    Raises:
        PlaceboError: there is none, with what was looked for.
    """
    families = built_families() | shipped_families()
    if name in families:
        return families[name]
    if not name.strip() or len(name) > 4000:
        raise PlaceboError(f"unknown model {name[:40]!r}; {suggest(name[:40], families)}")
    path = Path(name)
    if path.is_dir():
        if not any((path / kind).exists() for kind in ("config.json", adapter.CONFIG)):
            raise PlaceboError(f"model {name!r}: the folder holds no config.json")
        return path
    if path.exists():
        raise PlaceboError(f"model {name!r}: is a file; give the checkpoint's folder")
    if name.startswith("pocket/") or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise PlaceboError(
            f"unknown model {name!r}: no such folder; {suggest(name, families)} "
            "(others: `placebo pocket build`)"
        )
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    """Fetch a checkpoint from the hub, or find it in the local cache."""
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja"]
    try:
        kept = not reachable()
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=kept))
    except Exception as error:  # noqa: BLE001 (network, authentication, cache: many classes)
        reason = first_line(error) if reachable() else "no network"
        raise PlaceboError(
            f"model {name!r}: neither a local folder, nor one of {', '.join(shipped_families())}, "
            f"nor fetched from the hub ({reason})"
        ) from None


def base_of(folder: Path) -> Path | None:
    """The checkpoint that an adapter belongs to; None where a folder holds a whole model.

    Raises:
        PlaceboError: it cannot be found.
    """
    if (folder / "config.json").exists():
        return None
    path = folder / adapter.CONFIG
    base = _read_json(path).get("base_model_name_or_path")
    if not isinstance(base, str):
        raise PlaceboError(f"{path}: names no base_model_name_or_path")
    return locate(base)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise PlaceboError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise PlaceboError(f"{path}: not JSON ({error})") from None
    if not isinstance(document, dict):
        raise PlaceboError(f"{path}: not a JSON object")
    return document


def weight_files(folder: Path) -> list[Path]:
    """Weight files of a checkpoint: one, or the shards its index names.

    Raises:
        PlaceboError: a file is missing.
    """
    if (folder / INDEX).exists():
        named = _read_json(folder / INDEX).get("weight_map")
        names = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
        if not names or any(Path(n).is_absolute() or ".." in Path(n).parts for n in names):
            raise PlaceboError(f"{folder / INDEX}: names no weight files inside the checkpoint")
        files = [folder / name for name in names]
    else:
        files = [folder / WEIGHTS]
    for path in files:
        if not path.exists():
            raise PlaceboError(f"{path}: missing; the checkpoint has no (complete) safetensors")
    return files


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read one safetensors file.

    Raises:
        PlaceboError: it is unreadable or cut short.
    """
    try:
        with safe_open(path, framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise PlaceboError(f"{path}: unreadable or truncated ({error})") from None


def all_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, from all its files.

    Raises:
        PlaceboError: a file is missing, unreadable or cut short.
    """
    return {k: v for path in weight_files(folder) for k, v in read_tensors(path).items()}


def read_architecture(folder: Path) -> Architecture:
    """The shape that a checkpoint's ``config.json`` describes.

    Raises:
        PlaceboError: it is missing, broken, or of a kind that nobody knows.
    """
    folder = base_of(folder) or folder
    return _own_architecture(folder) or read_foreign(folder)


def _own_architecture(folder: Path) -> Architecture | None:
    """The shape of a model that our decoder computes; None of another's."""
    path = folder / "config.json"
    try:
        return from_hf(_read_json(path), str(path))
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
    architecture = _own_architecture(folder)
    if architecture is None:
        weight_files(folder)  # ours to name, where one is missing
        return load_foreign(folder)
    tensors = all_tensors(folder)
    if architecture.tied:
        tensors.pop("lm_head.weight", None)
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
    return tensor.is_floating_point() and bool(torch.isfinite(tensor).all())


def distance(one: Path, other: Path) -> float:
    """Euclidean distance of the weights of two checkpoints of one architecture."""
    first, second = all_tensors(one), all_tensors(other)
    squares = [(first[name] - second[name]).double().square().sum() for name in first]
    return float(torch.stack(squares).sum().sqrt())


def stop_tokens(folder: Path) -> list[int]:
    """End-of-text ids of a checkpoint, from its generation configuration or its configuration."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        declared = _read_json(path).get("eos_token_id") if path.exists() else None
        if declared is not None:
            ids = declared if isinstance(declared, list) else [declared]
            if not ids or any(type(i) is not int or i < 0 for i in ids):
                raise PlaceboError(f"{path}: eos_token_id {declared!r} is no token id")
            return ids
    raise PlaceboError(f"{folder}: names no end-of-text token (eos_token_id)")


def load(name: str) -> Checkpoint:
    """Load a checkpoint by name.

    Raises:
        PlaceboError: it cannot be found, read, or does not fit together.
    """
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
    return Checkpoint(model, tokenizer, digest_of(folder, tokenizer))


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a checkpoint, with the stop tokens it declares.

    An adapter without a tokenizer of its own has that of its model.
    """
    if not (folder / "tokenizer.json").exists() and (folder / adapter.CONFIG).exists():
        folder = base_of(folder) or folder
    return Tokenizer(folder, stop_tokens(folder))


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


def save(model: Decoder, tokenizer: Tokenizer, folder: Path, base: str = "") -> None:
    """Write a checkpoint that ``transformers`` loads, atomically: the folder appears complete.

    Args:
        model: the decoder; written as float32 under Hugging Face names, unfused.
        tokenizer: its files are copied as they are.
        folder: must not exist, or be empty.
        base: name or folder of the model whose adapters are to be written, and nothing else.

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
            model.theirs.save_pretrained(partial)
            write_json(
                partial / "generation_config.json",
                {**_special(tokenizer.stops), "do_sample": False},
            )
        else:
            tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
            save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
            write_configuration(model.architecture, tokenizer.stops, partial)
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


def write_configuration(a: Architecture, stops: tuple[int, ...], folder: Path) -> None:
    """Write ``config.json`` and ``generation_config.json``."""
    special = _special(stops)
    write_json(folder / "config.json", {**a.to_hf(), **special})
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
