"""Architectures that our decoder does not know: their own forward pass, with our attention.

``transformers`` lets the attention of a model be replaced by name. Ours is the one that
:class:`~rlvr_placebo.model.decoder.Decoder` would have been given, so packing, the key-value cache
and the engine's tests are the same; only everything between two attentions is theirs, and slower.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from rlvr_placebo.core.errors import PlaceboError, first_line
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.decoder import Attend, Decoder, causal_attention
from rlvr_placebo.model.folders import weight_files

NAME = "placebo"
BY_LENGTH = ("longrope", "dynamic")
FLOATS = ("F64", "F32", "F16", "BF16")  # safetensors' names
TRIED = 48  # tokens on which both ways of computing must agree
CLOSE = 1e-3  # largest difference of their logits, in standard deviations

_attend: ContextVar[Attend] = ContextVar("attend")
_asked: ContextVar[list[int]] = ContextVar("asked")


class Foreign(Decoder):
    """A causal language model of ``transformers`` that answers as a decoder of ours does.

    Attributes:
        theirs: the model.
        checkpointing: is not heeded.
    """

    records = False

    def __init__(self, theirs: Any, architecture: Architecture) -> None:  # noqa: ANN401
        """Wrap a model whose attention is ours by now."""
        nn.Module.__init__(self)
        self.theirs = theirs
        self.architecture = architecture
        self.checkpointing = False
        self._head = None
        self.remark = (
            f"models of type {architecture.model_type!r} go through transformers' own forward "
            "pass, which is slower than ours"
        )

    def forward(
        self, tokens_BT: Tensor, positions_BT: Tensor, attend: Attend = causal_attention
    ) -> Tensor:
        """Hidden states after the last norm; see :meth:`Decoder.forward`."""
        token = _attend.set(attend)
        try:
            found = self.theirs.get_decoder()(
                input_ids=tokens_BT,
                position_ids=positions_BT.expand_as(tokens_BT),
                use_cache=False,
            )
        finally:
            _attend.reset(token)
        return found.last_hidden_state

    @contextlib.contextmanager
    def at_rest(self) -> Generator[None]:
        """Nothing is kept between two passes."""
        yield

    def reach(self, positions: int) -> None:
        """Nothing is made for positions."""

    @property
    def head(self) -> Tensor:
        """The matrix ``[V, D]`` that turns hidden states into logits."""
        return self.theirs.get_output_embeddings().weight


def read_foreign(folder: Path) -> Architecture:
    """The shape of a checkpoint of another architecture.

    Raises:
        PlaceboError: ``transformers`` does not know it, or it is no decoder.
    """
    return _shape(_configuration(folder), folder)


def load_foreign(folder: Path) -> Foreign:
    """Load a checkpoint of another architecture as float32.

    Raises:
        PlaceboError: ``transformers`` cannot load it, or its logits are not what our attention
            makes of its weights.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()  # what it would print at length is said in a line below
    architecture = read_foreign(folder)
    _check_kinds(folder)
    _register()
    loader: Any = AutoModelForCausalLM  # whose types do not say what output_loading_info returns
    try:
        theirs, found = loader.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    except Exception as error:  # noqa: BLE001 (any class, from inside a model's own code)
        raise PlaceboError(f"{folder}: {first_line(error)}") from None
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if names := sorted(map(str, found[kind])):
            raise PlaceboError(f"{folder}: {kind.replace('_', ' ')} in the weights: {names[0]}")
    for name, parameter in theirs.named_parameters():
        if not torch.isfinite(parameter).all():
            raise PlaceboError(f"{folder}: {name} holds values that are not finite numbers")
    theirs.eval()
    model = Foreign(theirs, architecture)
    _check(model, folder)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def _check_kinds(folder: Path) -> None:
    """Refuse weights that are no floating-point numbers."""
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as tensors:
            kinds = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
        for name, kind in kinds.items():
            if kind not in FLOATS:
                raise PlaceboError(f"{folder}: {name} is stored as {kind}; is it quantised?")


def _configuration(folder: Path) -> Any:  # noqa: ANN401 (a class per architecture)
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder).get_text_config(decoder=True)
    except Exception as error:  # noqa: BLE001 (unknown types, remote code, sizes of any kind)
        raise PlaceboError(f"{folder / 'config.json'}: {first_line(error)}") from None


def _shape(config: Any, folder: Path) -> Architecture:  # noqa: ANN401
    """What the engine and the learner have to know of it."""

    def size(name: str, default: int | None = None) -> int:
        value = getattr(config, name, None) or default
        if not isinstance(value, int) or value < 1:
            raise PlaceboError(
                f"{folder / 'config.json'}: {config.model_type!r} is no decoder that can be used "
                f"here (its configuration has no {name})"
            )
        return value

    heads = size("num_attention_heads")
    window = getattr(config, "sliding_window", None) or math.inf
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in BY_LENGTH:  # rotations that change with the longest row
        window = min(window, rope.get("original_max_position_embeddings") or math.inf)
    return Architecture(
        model_type=config.model_type,
        vocab_size=size("vocab_size"),
        hidden_size=size("hidden_size"),
        layers=size("num_hidden_layers"),
        heads=heads,
        kv_heads=size("num_key_value_heads", heads),
        head_dim=size("head_dim", size("hidden_size") // heads),
        intermediate_size=size("intermediate_size", 4 * size("hidden_size")),
        max_positions=int(min(size("max_position_embeddings"), window)),  # no window closes before
        rms_norm_eps=1e-6,
        rope_theta=1e4,
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        attention_bias=False,
    )


def _register() -> None:
    """Make our attention known, and that it needs no mask: it has one of its own."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, *mask: Any, **more: Any,  # noqa: ANN401
) -> tuple[Tensor, None]:  # fmt: skip
    """What a layer of theirs calls: ``[B, H, T, E]`` in, ``[B, T, H, E]`` out."""
    del mask  # there is none
    odd = [name for name in ("softcap", "s_aux") if more.get(name) is not None]
    if odd or value.shape[-1] != query.shape[-1]:
        raise PlaceboError(f"its attention has {odd[0] if odd else 'values of another size'}")
    scaling = more.get("scaling")
    if scaling is not None and scaling != query.shape[-1] ** -0.5:
        query = query * (scaling * query.shape[-1] ** 0.5)
    if asked := _asked.get(None):
        asked.append(module.layer_idx)
    out_BHTE = _attend.get()(module.layer_idx, query, key, value)
    return out_BHTE.transpose(1, 2).contiguous(), None


@torch.no_grad()
def _check(model: Foreign, folder: Path) -> None:
    """Compute a few logits their way and ours, and go over to ours where they are equal."""
    config = model.architecture
    length = min(TRIED, config.max_positions)
    ids = torch.arange(1, length + 1)[None] * 7919 % config.vocab_size
    problem = ""
    token = _asked.set([-1])
    try:
        theirs = model.theirs(ids).logits[0].float()
        model.theirs.set_attn_implementation(NAME)
        ours = model.logits(model(ids, torch.arange(length)[None]))[0]
        if sorted(_asked.get()[1:]) != list(range(config.layers)):
            problem = "its layers do not let their attention be replaced"
        elif ours.shape != theirs.shape or not (ours - theirs).abs().max() < CLOSE * theirs.std():
            problem = "its logits are more than a product of its last state"
    except PlaceboError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 (any class, from inside a model's own code)
        problem = f"its forward pass fails ({first_line(error)})"
    finally:
        _asked.reset(token)
    if problem:
        raise PlaceboError(
            f"{folder}: a model of type {config.model_type!r} cannot be used here: {problem}"
        )
