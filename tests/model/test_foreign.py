"""Architectures that are not ours, through ``transformers``' own forward pass."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from conftest import FOREIGN, LLAMA_LIKE, make_foreign
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.model import checkpoint
from rlvr_placebo.model.check import check_checkpoint
from rlvr_placebo.model.checkpoint import load, save
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.folders import WEIGHTS, all_tensors
from rlvr_placebo.model.foreign import Foreign


def ids(rows=3, length=40):
    return torch.randint(1, 640, (rows, length), generator=torch.Generator().manual_seed(0))


def our_logits(model, tokens):
    return model.logits(model(tokens, torch.arange(tokens.shape[1])[None]))


@pytest.mark.parametrize("kind", FOREIGN)
def test_logits_are_theirs_and_come_back_from_a_checkpoint(kind, tmp_path, shipped, monkeypatch):
    theirs = make_foreign(kind, tmp_path / "m", shipped.tokenizer, **FOREIGN[kind])
    ours = load(str(tmp_path / "m"))
    assert isinstance(ours.model, Foreign)
    assert isinstance(ours.model, Decoder)
    tokens = ids()
    with torch.no_grad():
        wanted = theirs(tokens).logits
        assert wanted.std() > 0.1
        torch.testing.assert_close(our_logits(ours.model, tokens), wanted, atol=1e-4, rtol=0)
        for parameter in ours.model.parameters():
            parameter.add_(0.01)
        moved = our_logits(ours.model, tokens)
    save(ours.model, ours.tokenizer, tmp_path / "again")
    again = load(str(tmp_path / "again"))
    with torch.no_grad():
        torch.testing.assert_close(our_logits(again.model, tokens), moved, atol=1e-5, rtol=0)
        reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
        assert reloaded.config._attn_implementation == "sdpa"
        torch.testing.assert_close(reloaded(tokens).logits, moved, atol=1e-4, rtol=0)
    monkeypatch.setattr(checkpoint, "SHARD", 60_000)
    save(ours.model, ours.tokenizer, tmp_path / "half", precision="bfloat16")
    assert len(list((tmp_path / "half").glob("model-*.safetensors"))) > 1
    half = AutoModelForCausalLM.from_pretrained(tmp_path / "half")
    assert half.dtype == torch.bfloat16
    kept = load(str(tmp_path / "half")).model.state_dict()
    for name, tensor in ours.model.state_dict().items():
        assert torch.equal(kept[name], tensor.bfloat16().float())


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("gemma2", {**LLAMA_LIKE, "head_dim": 12}, "its attention has softcap"),
        ("granite", {**LLAMA_LIKE, "logits_scaling": 8.0}, "more than a product"),
        ("bloom", {"hidden_size": 48, "n_layer": 2, "n_head": 4}, "no max_position_embeddings"),
        ("mamba", {"hidden_size": 48, "num_hidden_layers": 2}, "no num_attention_heads"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_a_line(kind, more, message, tmp_path, shipped):
    make_foreign(kind, tmp_path / "m", shipped.tokenizer, **more)
    with pytest.raises(PlaceboError, match=message):
        load(str(tmp_path / "m"))


def test_features_that_our_decoder_lacks_are_theirs(tmp_path, shipped):
    """Another activation, another way of stretching positions."""
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
            "original_max_position_embeddings": 128}  # fmt: skip
    for number, more in enumerate(({"hidden_act": "gelu"}, {"rope_parameters": yarn})):
        theirs = make_foreign("llama", tmp_path / f"{number}", shipped.tokenizer, **LLAMA_LIKE,
                              **more)  # fmt: skip
        model = load(str(tmp_path / f"{number}")).model
        assert isinstance(model, Foreign)
        assert "not ours" in check_checkpoint(tmp_path / f"{number}")[0].says
        with torch.no_grad():
            wanted = theirs(ids()).logits
            torch.testing.assert_close(our_logits(model, ids()), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("transformer.h.9.mlp.c_fc.bias", torch.zeros(3), "unexpected keys"),
        ("transformer.wpe.weight", torch.zeros(256, 48, dtype=torch.int8), "stored as I8"),
    ],
)
def test_weights_that_do_not_belong_are_refused(name, tensor, message, tmp_path, shipped):
    make_foreign("gpt2", tmp_path / "m", shipped.tokenizer, **FOREIGN["gpt2"])
    tensors = all_tensors(tmp_path / "m")
    save_file({**tensors, name: tensor}, tmp_path / "m" / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(PlaceboError, match=message) as error:
        load(str(tmp_path / "m"))
    assert "\n" not in str(error.value)
    wrong = [r.says for r in check_checkpoint(tmp_path / "m") if r.status == "wrong"]
    assert len(wrong) == 1


def test_a_window_limits_positions(tmp_path, shipped):
    """Within the window nothing slides."""
    make_foreign("mistral", tmp_path / "m", shipped.tokenizer, **LLAMA_LIKE, sliding_window=64)
    model = load(str(tmp_path / "m")).model
    assert isinstance(model, Foreign)
    assert model.architecture.max_positions == 64


def test_unknown_architectures_are_named(tmp_path, shipped):
    make_foreign("gpt2", tmp_path / "m", shipped.tokenizer, **FOREIGN["gpt2"])
    config = tmp_path / "m" / "config.json"
    config.write_text(config.read_text().replace('"gpt2"', '"gpt99"'))
    with pytest.raises(PlaceboError, match="gpt99") as error:
        load(str(tmp_path / "m"))
    assert "\n" not in str(error.value)
