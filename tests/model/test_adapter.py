"""LoRA: adapters are trained, kept, merged, and are the same model in ``peft`` and transformers."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from conftest import ARCHITECTURES, FOREIGN, make_foreign, random_model
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.model.adapter import LoraConfig, adapt
from rlvr_placebo.model.check import check_checkpoint
from rlvr_placebo.model.checkpoint import digest_of, load, load_model, save

KINDS = ["qwen2", "llama", "olmo2", "qwen3", "gpt2", "gemma"]


def make(kind, folder, tokenizer):
    if kind in FOREIGN:
        make_foreign(kind, folder, tokenizer, **FOREIGN[kind])
    else:
        save(random_model(ARCHITECTURES[kind]), tokenizer, folder)
    return load_model(folder)


def logits(model, rows=3):
    tokens = torch.randint(1, 640, (rows, 30), generator=torch.Generator().manual_seed(1))
    return tokens, model.logits(model(tokens, torch.arange(30)[None]))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's, of transformers' names
@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_the_same_model_everywhere(kind, tmp_path, shipped):
    model = make(kind, tmp_path / "base", shipped.tokenizer)
    with torch.no_grad():
        before = logits(model)[1]
    adapt(model, LoraConfig(rank=4), seed=3)
    with torch.no_grad():
        assert torch.allclose(logits(model)[1], before, atol=1e-6)  # they change nothing yet
    trained = [p for p in model.parameters() if p.requires_grad]
    assert 0 < sum(p.numel() for p in trained) < 0.5 * sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.SGD(trained, lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits(model)[1].flatten(0, 1),
                                          logits(model)[0].flatten()).backward()  # fmt: skip
        optimizer.step()
    with torch.no_grad():
        tokens, after = logits(model)
        assert (after - before).abs().max() > 1e-2
        with model.at_rest():
            torch.testing.assert_close(logits(model)[1], after, atol=1e-5, rtol=0)
        if not model.remark:  # weights beside adapters are narrowed once while they rest
            model.compute = torch.bfloat16
            narrow = logits(model)[1]
            with model.at_rest():
                held = [m for m in model.modules() if getattr(m, "_held", None) is not None]
                assert len(held) == 7 * len(model.model.layers)
                assert torch.equal(logits(model)[1], narrow)
            model.compute = None
    save(model, shipped.tokenizer, tmp_path / "adapter", str(tmp_path / "base"))
    again = load(str(tmp_path / "adapter"))
    assert all(p.requires_grad for p in again.model.parameters())
    assert not any("lora" in name for name, _ in again.model.named_parameters())
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(logits(again.model)[1], after, atol=1e-4, rtol=0)
        torch.testing.assert_close(theirs(tokens).logits, after, atol=1e-4, rtol=0)


def test_adapters_are_drawn_from_the_seed(tmp_path, shipped):
    def first(seed):
        model = make("qwen2", tmp_path / f"{seed}", shipped.tokenizer)
        adapt(model, LoraConfig(rank=2), seed)
        return next(p for n, p in model.named_parameters() if "lora_A" in n)

    one = first(1)
    (tmp_path / "1").rename(tmp_path / "moved")
    assert torch.equal(one, first(1))
    assert not torch.equal(one, first(2))


def test_broken_adapters_are_named(tmp_path, shipped):
    model = make("qwen2", tmp_path / "base", shipped.tokenizer)
    adapt(model, LoraConfig(rank=2), 0)
    folder = tmp_path / "adapter"
    save(model, shipped.tokenizer, folder, str(tmp_path / "base"))
    known = digest_of(folder, shipped.tokenizer)
    make("llama", tmp_path / "other", shipped.tokenizer)
    config = json.loads((folder / "adapter_config.json").read_text())

    def broken(**changes):
        (folder / "adapter_config.json").write_text(json.dumps(config | changes))
        with pytest.raises(PlaceboError) as error:
            load(str(folder))
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "does not fit" in broken(base_model_name_or_path=str(tmp_path / "other"))
    assert "no such folder" in broken(base_model_name_or_path="pocket/nobody")
    assert [r.about for r in check_checkpoint(folder) if r.status == "wrong"] == ["adapter"]
    assert "names no base" in broken(base_model_name_or_path=None)
    assert "does not fit" in broken(peft_type="NOBODY")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").unlink()  # TRL's have a tokenizer and no stop tokens
    assert load(str(folder)).tokenizer.stops == shipped.tokenizer.stops
    assert not [r for r in check_checkpoint(folder) if r.status == "wrong"]
    (folder / "tokenizer.json").unlink()  # an adapter from elsewhere may have none
    assert load(str(folder)).tokenizer.size == shipped.tokenizer.size
    (tmp_path / "base" / "model.safetensors").write_bytes(
        (tmp_path / "other" / "model.safetensors").read_bytes()
    )
    assert digest_of(folder, shipped.tokenizer) != known
