"""What a ``config.json`` says of a decoder, in one frozen record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlvr_placebo.core.errors import PlaceboError, UnsupportedError


@dataclass(frozen=True)
class Style:
    """How an architecture differs from the others.

    Attributes:
        post_norm: normalise what a block adds (OLMo 2), not what it reads.
        qk_norm: normalise queries and keys before the rotation: over ``all`` heads together
            (OLMo 2), each ``head`` by itself (Qwen3), or not (empty).
        qkv_bias: biases on the query, key and value projections, whatever the config says; None
            where ``attention_bias`` of the config decides for all four projections.
        class_name: name of the class in ``transformers``.
    """

    class_name: str
    post_norm: bool = False
    qk_norm: str = ""
    qkv_bias: bool | None = None


STYLES: Mapping[str, Style] = {
    "qwen2": Style("Qwen2ForCausalLM", qkv_bias=True),
    "qwen3": Style("Qwen3ForCausalLM", qk_norm="head"),
    "llama": Style("LlamaForCausalLM"),
    "mistral": Style("MistralForCausalLM", qkv_bias=False),
    "olmo2": Style("Olmo2ForCausalLM", post_norm=True, qk_norm="all"),
}


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's slower rotations, by which a model reads further than it was pretrained.

    Frequencies whose wavelength is longer than ``original_max_position_embeddings /
    low_freq_factor`` are divided by ``factor``, those shorter than ``… / high_freq_factor`` are
    kept, and in between the two are blended (arXiv 2407.21783).
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class Architecture:
    """Shape of one decoder. Example: ``Architecture("qwen2", 1024, 64, 3, 4, 2, 16, 160, …)``."""

    model_type: str
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    max_positions: int
    rms_norm_eps: float
    rope_theta: float
    tied: bool
    attention_bias: bool
    rope_scaling: RopeScaling | None = None

    @property
    def style(self) -> Style:
        """The conventions of this model type."""
        return STYLES[self.model_type]

    @property
    def qkv_bias(self) -> bool:
        """Whether the query, key and value projections have biases."""
        fixed = self.style.qkv_bias
        return self.attention_bias if fixed is None else fixed

    @property
    def out_bias(self) -> bool:
        """Whether the attention's output projection has a bias."""
        return self.attention_bias and self.style.qkv_bias is None

    def to_hf(self) -> dict[str, Any]:
        """The ``config.json`` that ``transformers`` reads: 5.x, and 4.x by its older names."""
        scaled = asdict(self.rope_scaling) if self.rope_scaling else {}
        rope = {"rope_theta": self.rope_theta, "rope_type": "llama3" if scaled else "default"}
        document = {
            "architectures": [self.style.class_name],
            "model_type": self.model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_positions,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_parameters": rope | scaled,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied,
            "hidden_act": "silu",
        }
        if scaled:
            document["rope_scaling"] = {"rope_type": "llama3", **scaled}
        if self.style.qkv_bias is None:
            document["attention_bias"] = self.attention_bias
        if self.model_type == "mistral":
            document["sliding_window"] = None  # its class has one by default
        return document


# What `transformers` takes where a config.json does not say.
KEY_HEADS = {"qwen2": 32, "qwen3": 32, "mistral": 8}
HEAD_DIM = {"qwen3": 128}
EPSILON = {"olmo2": 1e-5}


def from_hf(config: Mapping[str, Any], where: str) -> Architecture:
    """Read a ``config.json``.

    Args:
        config: the parsed file.
        where: its path, for messages.

    Raises:
        UnsupportedError: a model type or a feature that this decoder does not compute exactly.
        PlaceboError: an entry is missing or makes no sense.
    """
    kind = str(config.get("model_type"))
    if kind not in STYLES:
        raise UnsupportedError(f"{where}: model type {kind!r} is not one of {', '.join(STYLES)}")
    rope = _rope(config)
    if not isinstance(rope, Mapping):
        raise PlaceboError(f"{where}: the rotary settings are not an object")
    _refuse_unsupported(config, rope, where)
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        architecture = Architecture(
            model_type=kind,
            vocab_size=int(config["vocab_size"]),
            hidden_size=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or KEY_HEADS.get(kind, heads)),
            head_dim=int(config.get("head_dim") or HEAD_DIM.get(kind, hidden // heads)),
            intermediate_size=int(config["intermediate_size"]),
            max_positions=int(config["max_position_embeddings"]),
            rms_norm_eps=float(config.get("rms_norm_eps", EPSILON.get(kind, 1e-6))),
            rope_theta=float(rope.get("rope_theta", 10000.0)),
            tied=bool(config.get("tie_word_embeddings", False)),
            attention_bias=bool(config.get("attention_bias", False)),
            rope_scaling=_scaling(rope),
        )
    except KeyError as missing:
        raise PlaceboError(f"{where}: has no entry {missing}") from None
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise PlaceboError(f"{where}: {error}") from None
    _check_sizes(architecture, where)
    return architecture


def _check_sizes(a: Architecture, where: str) -> None:
    """Refuse sizes that no decoder has, before anything is built of them."""
    sizes = (a.vocab_size, a.hidden_size, a.layers, a.heads, a.kv_heads, a.head_dim,
             a.intermediate_size, a.max_positions)  # fmt: skip
    if min(sizes) < 1 or max(sizes) > 10_000_000 or a.layers > 1000:
        raise PlaceboError(f"{where}: a size is not positive, or far too large")
    if a.heads % a.kv_heads or a.head_dim % 2:
        raise PlaceboError(f"{where}: heads must divide by key-value heads, head_dim by 2")
    if not (0 < a.rms_norm_eps < 1 and 0 < a.rope_theta < math.inf):
        raise PlaceboError(f"{where}: rms_norm_eps or rope_theta is out of range")


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rotary settings, in the way of ``transformers`` 5 or the older one."""
    older, newer = (config.get(key) or {} for key in ("rope_scaling", "rope_parameters"))
    for settings in (older, newer):
        if not isinstance(settings, Mapping):
            return settings
    theta = {"rope_theta": config.get("rope_theta", 10000.0)}
    if older and newer and {**theta, **newer} != {**theta, **newer, **older}:
        return {"rope_type": "contradictory: rope_scaling and rope_parameters"}
    return {**theta, **older, **newer}


def _scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    """The scaling that the rotary settings ask for."""
    if _rope_type(rope) == "default":
        return None
    scaling = RopeScaling(
        factor=float(rope["factor"]),
        low_freq_factor=float(rope["low_freq_factor"]),
        high_freq_factor=float(rope["high_freq_factor"]),
        original_max_position_embeddings=int(rope["original_max_position_embeddings"]),
    )
    if not (0 < scaling.low_freq_factor < scaling.high_freq_factor and scaling.factor > 0):
        raise ValueError("the factors of the rotary scaling are out of order")
    return scaling


def _rope_type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type", rope.get("type", "default")))


def _refuse_unsupported(config: Mapping[str, Any], rope: Mapping[str, Any], where: str) -> None:
    """Refuse features that would silently give other logits."""
    kind = _rope_type(rope)
    window = config.get("sliding_window") or math.inf
    if not isinstance(window, int | float):
        raise PlaceboError(f"{where}: sliding_window {window!r} is no number")
    if config.get("quantization_config"):
        raise PlaceboError(f"{where}: its weights are quantised; take the model as it was before")
    slides = config.get("model_type") == "mistral" and window < config.get(
        "max_position_embeddings", 0
    )
    refused = {
        f"rope type {kind!r}": kind not in ("default", "llama3"),
        f"sliding-window attention (of {window} tokens)": bool(config.get("use_sliding_window"))
        or slides,
        f"activation {config.get('hidden_act')!r}": config.get("hidden_act", "silu") != "silu",
        "an MLP with biases": bool(config.get("mlp_bias")),
    }
    for feature, present in refused.items():
        if present:
            raise UnsupportedError(f"{where}: {feature} is not known to our decoder")
