"""LoRA (Hu et al. 2021, arXiv 2106.09685) through ``peft``: a few weights beside frozen ones.

An adapter is kept as ``peft`` keeps it, ``adapter_config.json`` and ``adapter_model.safetensors``,
under the names that the model has in ``transformers``; whoever loads it there gets the same model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from rlvr_placebo.core.errors import PlaceboError, first_line
from rlvr_placebo.core.files import write_json
from rlvr_placebo.core.seeds import seed_for
from rlvr_placebo.model.decoder import Decoder

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of names in a file of peft's


@dataclass(frozen=True)
class LoraConfig:
    """Adapters on every linear map but the head."""

    rank: int = 0
    """Of each adapter; 0: all weights are trained."""
    alpha: float = 32.0
    """Adapters are scaled by alpha / rank."""


def peft() -> Any:  # noqa: ANN401 (a module)
    """The library, imported late: it takes seconds.

    Raises:
        PlaceboError: it is not installed.
    """
    try:
        import peft as library
    except ImportError:
        raise PlaceboError("adapters need peft: pip install 'rlvr-placebo[lora]'") from None
    return library


def adapt(model: Decoder, lora: LoraConfig, seed: int) -> None:
    """Put adapters beside a model's linear maps, and let nothing else be trained.

    They change nothing yet: one of their two matrices is 0, the other drawn from the seed.

    Raises:
        PlaceboError: ``peft`` is missing.
    """
    library = peft()
    names = sorted({
        name.rsplit(".", 1)[-1] for name, part in model.named_modules() if _is_linear(part)
    } - {"lm_head"})  # fmt: skip
    config = library.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=names, lora_dropout=0.0, bias="none",
        task_type="CAUSAL_LM", fan_in_fan_out=any(_is_turned(m) for m in model.modules()),
    )  # fmt: skip
    library.inject_adapter_in_model(config, _named(model))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_A" in name:
            generator = torch.Generator().manual_seed(seed_for(seed, 0, name, 0, "adapter"))
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)


def _named(model: Decoder) -> Any:  # noqa: ANN401 (a class per architecture)
    """The module whose names are those of ``transformers``."""
    return getattr(model, "theirs", model)


def _is_linear(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) or _is_turned(part)


def _is_turned(part: nn.Module) -> bool:
    """GPT-2's linear maps, whose matrices are transposed."""
    return type(part).__name__ == "Conv1D"


def save_adapter(model: Decoder, base: str, folder: Path) -> None:
    """Write a model's adapters into an existing folder.

    Args:
        model: with adapters.
        base: name or folder of the model they belong to.
        folder: of the checkpoint.
    """
    library, named = peft(), _named(model)
    config = named.peft_config["default"]
    document = {**config.to_dict(), "base_model_name_or_path": base, "inference_mode": True}
    sets = {key: sorted(value) for key, value in document.items() if isinstance(value, set)}
    write_json(folder / CONFIG, document | sets)  # a set's order would change from run to run
    state = library.get_peft_model_state_dict(named)
    tensors = {PREFIX + name: t.detach().cpu().contiguous() for name, t in state.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def merge_adapter(model: Decoder, folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Add an adapter to the weights of the model it belongs to.

    Args:
        model: without adapters.
        folder: of the adapter.
        tensors: of its file.

    Raises:
        PlaceboError: it belongs to another model, or is of a kind that cannot be merged.
    """
    library, named = peft(), _named(model)
    try:
        config = library.PeftConfig.from_pretrained(folder)
        library.inject_adapter_in_model(config, named)
        found = library.set_peft_model_state_dict(
            named, {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
        )
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        said = first_line(error)
        raise PlaceboError(f"{folder}: its adapter does not fit the model ({said})") from None
    lacking = [name for name in found.missing_keys if "lora_" in name]
    if lacking or found.unexpected_keys:
        name = (lacking or found.unexpected_keys)[0]
        raise PlaceboError(f"{folder}: its adapter does not fit the model ({name})")
    for path, part in list(named.named_modules()):
        if hasattr(part, "base_layer") and hasattr(part, "merge"):
            part.merge()
            parent, _, child = path.rpartition(".")
            setattr(named.get_submodule(parent), child, part.get_base_layer())
    for parameter in model.parameters():
        parameter.requires_grad_(True)
