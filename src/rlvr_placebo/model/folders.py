"""The files of a checkpoint in Hugging Face format: where they are, and what is in them."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from rlvr_placebo.core.errors import PlaceboError, first_line, suggest
from rlvr_placebo.core.files import cache_folder
from rlvr_placebo.core.hub import reachable
from rlvr_placebo.model import adapter

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


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
    base = read_json(path).get("base_model_name_or_path")
    if not isinstance(base, str):
        raise PlaceboError(f"{path}: names no base_model_name_or_path")
    found = locate(base)
    if not (found / "config.json").exists():
        raise PlaceboError(f"{path}: its model {base} is an adapter itself")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a checkpoint's JSON files.

    Raises:
        PlaceboError: it is missing or holds no JSON object.
    """
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
    if (folder / INDEX).exists() and not (folder / WEIGHTS).exists():  # as transformers chooses
        named = read_json(folder / INDEX).get("weight_map")
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


def stop_tokens(folder: Path) -> list[int]:
    """End-of-text ids of a checkpoint, from its generation configuration or its configuration."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        declared = read_json(path).get("eos_token_id") if path.exists() else None
        if declared is not None:
            ids = declared if isinstance(declared, list) else [declared]
            if not ids or any(type(i) is not int or i < 0 for i in ids):
                raise PlaceboError(f"{path}: eos_token_id {declared!r} is no token id")
            return sorted(set(ids))
    raise PlaceboError(f"{folder}: names no end-of-text token (eos_token_id)")
