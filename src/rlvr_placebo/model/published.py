"""The ten models of arXiv 2506.10947 by hub id: their shapes, as their configurations give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rlvr_placebo.model.architecture import Architecture, RopeScaling

_MATH_7B = Architecture(
    "qwen2", 152064, 3584, 28, 28, 4, 128, 18944, 4096, 1e-6, 10000.0, False, False
)
_MATH_1B = Architecture(
    "qwen2", 151936, 1536, 28, 12, 2, 128, 8960, 4096, 1e-6, 10000.0, True, False
)
_QWEN_7B, _QWEN_1B = (
    replace(one, max_positions=131072, rope_theta=1e6) for one in (_MATH_7B, _MATH_1B)
)
_OLMO = Architecture(
    "olmo2", 100352, 4096, 32, 32, 32, 128, 11008, 4096, 1e-6, 500000.0, False, False
)
_LLAMA_8B = Architecture(
    "llama", 128256, 4096, 32, 32, 8, 128, 14336, 131072, 1e-5, 500000.0, False, False,
    RopeScaling(8.0, 1.0, 4.0, 8192),
)  # fmt: skip
_LLAMA_3B = Architecture(
    "llama", 128256, 3072, 28, 24, 8, 128, 8192, 131072, 1e-5, 500000.0, True, False,
    RopeScaling(32.0, 1.0, 4.0, 8192),
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A model of the paper.

    Attributes:
        shape: of its decoder.
        template: the prompt that the paper gave it (§A; base models without a chat template: R1).
    """

    shape: Architecture
    template: str


PAPER_MODELS: Mapping[str, Published] = {
    "Qwen/Qwen2.5-Math-7B": Published(_MATH_7B, "chat"),
    "Qwen/Qwen2.5-Math-1.5B": Published(_MATH_1B, "chat"),
    "Qwen/Qwen2.5-7B": Published(_QWEN_7B, "chat"),
    "Qwen/Qwen2.5-1.5B": Published(_QWEN_1B, "chat"),
    "allenai/OLMo-2-1124-7B": Published(_OLMO, "think"),
    "allenai/OLMo-2-1124-7B-SFT": Published(_OLMO, "chat"),
    "meta-llama/Llama-3.1-8B": Published(_LLAMA_8B, "think"),
    "meta-llama/Llama-3.1-8B-Instruct": Published(_LLAMA_8B, "chat"),
    "meta-llama/Llama-3.2-3B": Published(_LLAMA_3B, "think"),
    "meta-llama/Llama-3.2-3B-Instruct": Published(_LLAMA_3B, "chat"),
}


def parameters(a: Architecture) -> int:
    """Parameters of a decoder of this shape; tied embeddings count once."""
    queries, keys = a.heads * a.head_dim, a.kv_heads * a.head_dim
    attention = a.hidden_size * (2 * queries + 2 * keys)
    attention += (queries + 2 * keys) * a.qkv_bias + a.hidden_size * a.out_bias
    attention += {"": 0, "all": queries + keys, "head": 2 * a.head_dim}[a.style.qk_norm]
    block = attention + 3 * a.hidden_size * a.intermediate_size + 2 * a.hidden_size
    embeddings = a.vocab_size * a.hidden_size * (1 if a.tied else 2)
    return embeddings + a.layers * block + a.hidden_size
