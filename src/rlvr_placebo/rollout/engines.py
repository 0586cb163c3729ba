"""The engine that fits where a model is."""

from __future__ import annotations

from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.device import CPU, device_of
from rlvr_placebo.rollout.native import NativeEngine
from rlvr_placebo.rollout.slots import SlotEngine
from rlvr_placebo.text.tokenizer import Tokenizer


def make_engine(model: Decoder, tokenizer: Tokenizer, max_rows: int = 256) -> NativeEngine:
    """Engine over a model, of at most so many rows at a time."""
    kind = NativeEngine if device_of(model).type == CPU else SlotEngine
    return kind(model, tokenizer, max_rows)
