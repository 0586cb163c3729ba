"""The ten models of the paper: their configurations, without their weights."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rlvr_placebo.model.architecture import from_hf
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.published import PAPER_MODELS, parameters


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_names_and_shapes_are_those_of_transformers(name):
    """On the meta device: nothing is computed, and nothing takes memory."""
    shape = PAPER_MODELS[name].shape
    document = shape.to_hf()
    assert from_hf(document, "config.json") == shape
    kind = document.pop("model_type")
    with torch.device("meta"):
        ours = Decoder(shape)
        theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **document))
    assert type(theirs).__name__ == shape.style.class_name
    named = {key: tuple(p.shape) for key, p in theirs.named_parameters()}
    assert {key: tuple(p.shape) for key, p in ours.named_parameters()} == named
    assert sum(p.numel() for p in theirs.parameters()) == parameters(shape)
