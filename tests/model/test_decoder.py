import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from conftest import ARCHITECTURES, random_model
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import write_json
from rlvr_placebo.model import checkpoint
from rlvr_placebo.model.architecture import RopeScaling, from_hf
from rlvr_placebo.model.check import check_checkpoint
from rlvr_placebo.model.checkpoint import load, load_model, save
from rlvr_placebo.model.folders import WEIGHTS, locate, read_tensors, shipped_families, weight_files


def ids(rows=3, length=40, seed=0):
    return torch.randint(0, 640, (rows, length), generator=torch.Generator().manual_seed(seed))


def our_logits(model, tokens):
    return model.logits(model(tokens, torch.arange(tokens.shape[1])[None]))


def train_three_steps(logits_of, parameters, tokens):
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    for _ in range(3):
        logits = logits_of(tokens)
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_logits_equal_transformers_before_and_after_training(architecture, shipped, tmp_path):
    ours = random_model(architecture)
    save(ours, shipped.tokenizer, tmp_path / "m")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    assert type(theirs).__name__ == architecture.style.class_name
    tokens = ids()
    with torch.no_grad():
        before = our_logits(ours, tokens)
        assert before.std() > 0.5  # the comparison would be empty for flat logits
        torch.testing.assert_close(before, theirs(tokens).logits, atol=1e-4, rtol=0)
    train_three_steps(lambda t: our_logits(ours, t), ours.parameters(), tokens)
    train_three_steps(lambda t: theirs(t).logits, theirs.parameters(), tokens)
    with torch.no_grad():
        after = our_logits(ours, tokens)
        assert (after - before).abs().max() > 1e-2
        torch.testing.assert_close(after, theirs(tokens).logits, atol=1e-4, rtol=0)


def test_names_and_shapes_are_hugging_faces(architecture, shipped, tmp_path):
    ours = random_model(architecture)
    save(ours, shipped.tokenizer, tmp_path / "m")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    named = {k: tuple(v.shape) for k, v in theirs.named_parameters()}
    assert {k: tuple(v.shape) for k, v in ours.named_parameters()} == named


def test_a_checkpoint_comes_back(architecture, shipped, tmp_path):
    ours = random_model(architecture, seed=4)
    save(ours, shipped.tokenizer, tmp_path / "m")
    again = load(str(tmp_path / "m"))
    assert again.model.architecture == architecture
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    assert again.tokenizer.stops == (0,)


def test_sharded_half_precision_checkpoints_are_read(architecture, shipped, tmp_path):
    save(random_model(architecture), shipped.tokenizer, tmp_path / "m")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.bfloat16)
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="60KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    ours = load_model(tmp_path / "sharded")
    with torch.no_grad():
        theirs = theirs.float()
        torch.testing.assert_close(our_logits(ours, ids()), theirs(ids()).logits, atol=1e-4, rtol=0)


def test_large_and_half_precision_checkpoints_are_written(
    architecture, shipped, tmp_path, monkeypatch
):
    ours, folder = random_model(architecture), tmp_path / "m"
    monkeypatch.setattr(checkpoint, "SHARD", 60_000)
    save(ours, shipped.tokenizer, folder, precision="bfloat16")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert not (folder / "model.safetensors").exists()
    theirs, found = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(found[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.dtype == torch.bfloat16
    again = load_model(folder).state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again[name], tensor.bfloat16().float())
    assert all(torch.equal(p.float(), again[n]) for n, p in theirs.named_parameters())


@pytest.mark.parametrize("which", ["shipped", "trained"])
def test_transformers_loads_our_checkpoints_without_a_warning(which, tmp_path, family):
    """In a fresh process, with warnings as errors and the library's own log captured."""
    folder = shipped_families()["pocket/code-prior"]
    if which == "trained":
        model = family.model
        train_three_steps(lambda t: our_logits(model, t), model.parameters(), ids())
        folder = tmp_path / "checkpoint-3"
        save(model, family.tokenizer, folder)
        tokens = ids()
        with torch.no_grad():
            theirs = AutoModelForCausalLM.from_pretrained(folder)(tokens).logits
            torch.testing.assert_close(our_logits(model, tokens), theirs, atol=1e-4, rtol=0)
    code = f"""
import sys, warnings; warnings.simplefilter("error")
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
model, info = AutoModelForCausalLM.from_pretrained({str(folder)!r}, output_loading_info=True)
assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})
print(type(model).__name__, sum(p.numel() for p in model.parameters()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Qwen2ForCausalLM")
    assert int(done.stdout.split()[1]) <= 500_000
    assert "warn" not in done.stderr.lower(), done.stderr
    assert "not initialized" not in done.stderr, done.stderr


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_auto_tokenizer_tokenizes_as_we_do(model_type, shipped, tmp_path):
    save(random_model(ARCHITECTURES[model_type]), shipped.tokenizer, tmp_path / "m")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "m")
    texts = ["Ada has 12 pens.  Ada buys 5 more.\n", "```python\nx=12+5 #17\nprint(x)\n```\n",
             "So \\boxed{17}", " leading", "tabs\tand  spaces ", "π ≈ 3.14", "don't"]  # fmt: skip
    for text in texts:
        assert theirs(text)["input_ids"] == shipped.tokenizer.encode(text)
        assert theirs.decode(theirs(text)["input_ids"]) == text
    assert theirs.eos_token_id == 0


def test_shipped_logits_equal_transformers(shipped):
    theirs = AutoModelForCausalLM.from_pretrained(shipped_families()["pocket/code-prior"])
    tokens = ids()
    with torch.no_grad():
        torch.testing.assert_close(
            our_logits(shipped.model, tokens), theirs(tokens).logits, atol=1e-4, rtol=0
        )


def broken(tmp_path, shipped, change):
    folder = tmp_path / "m"
    save(random_model(ARCHITECTURES["qwen2"]), shipped.tokenizer, folder)
    change(folder)
    with pytest.raises(PlaceboError) as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(name, **changes):
    def change(folder):
        document = json.loads((folder / name).read_text())
        write_json(folder / name, {**document, **changes})

    return change


def truncate(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def poison(folder):
    tensors = read_tensors(folder / WEIGHTS)
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / WEIGHTS).unlink(), "missing"),
        (truncate, "unreadable or truncated"),
        (lambda f: (f / WEIGHTS).write_bytes(b""), "unreadable or truncated"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
        (lambda f: (f / "generation_config.json").write_text("[]"), "not a JSON object"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
        (edit("config.json", model_type="gpt2"), "missing keys in the weights"),
        (edit("config.json", model_type="nobody"), "nobody"),
        (edit("config.json", num_hidden_layers=4), "the weights lack"),
        (edit("config.json", num_hidden_layers=2), "unknown to config.json"),
        (edit("config.json", intermediate_size=95), "has shape"),
        (edit("config.json", vocab_size=None), "int()"),
        (edit("config.json", rope_parameters={"rope_type": "yarn"}), "'factor'"),
        (edit("config.json", rope_parameters="x"), "not an object"),
        (edit("config.json", num_hidden_layers=10**7), "far too large"),
        (edit("config.json", num_attention_heads=0), "not positive"),
        (edit("config.json", hidden_size=-48), "not positive"),
        (edit("config.json", num_key_value_heads=4), "heads must divide"),
        (edit("generation_config.json", eos_token_id="x"), "no token id"),
        (edit("generation_config.json", eos_token_id=-1), "no token id"),
        (edit("generation_config.json", eos_token_id=10**6), "ids up to"),
        (edit("tokenizer_config.json", bos_token="nope", add_bos_token=True), "not in the vocab"),
        (poison, "not finite"),
    ],
)
def test_broken_checkpoints_are_named(tmp_path, shipped, change, message):
    assert message in broken(tmp_path, shipped, change)


def test_unknown_models(tmp_path):
    with pytest.raises(PlaceboError, match="did you mean 'pocket/code-prior'"):
        locate("pocket/code-prio")
    with pytest.raises(PlaceboError, match="no such folder"):
        locate("nowhere")
    with pytest.raises(PlaceboError, match=r"no config\.json"):
        locate(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaceboError, match="is a file"):
        locate(str(tmp_path / "file"))
    with pytest.raises(PlaceboError, match="neither a local folder"):
        locate("nobody/nothing")  # the hub is offline in tests


def test_older_configurations_are_read():
    old = {"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 10,
           "num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 16,
           "rope_theta": 500000.0}  # fmt: skip
    a = from_hf(old, "config.json")
    assert (a.rope_theta, a.kv_heads, a.head_dim, a.tied) == (500000.0, 2, 4, False)
    llama3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 8, "rope_type": "llama3"}  # fmt: skip
    stretched = from_hf({**old, "rope_scaling": llama3}, "config.json")
    assert stretched.rope_scaling == RopeScaling(8.0, 1.0, 4.0, 8)
    written = stretched.to_hf()  # under the names of both generations of the library
    assert written["rope_parameters"] == {"rope_theta": 500000.0, **llama3}
    assert (written["rope_theta"], written["rope_scaling"]) == (500000.0, llama3)
    older = {k: v for k, v in written.items() if k != "rope_parameters"}
    assert from_hf(older, "config.json") == from_hf(written, "config.json") == stretched
    with pytest.raises(PlaceboError, match="'vocab_size'"):
        from_hf({k: v for k, v in old.items() if k != "vocab_size"}, "config.json")


def test_what_ours_and_theirs_would_read_differently_is_not_read(tmp_path, shipped):
    kind = next(k for k, a in ARCHITECTURES.items() if a.tied)
    save(random_model(ARCHITECTURES[kind]), shipped.tokenizer, tmp_path / "m")
    tensors = read_tensors(tmp_path / "m" / WEIGHTS)
    head = tensors["model.embed_tokens.weight"].clone()
    place = tmp_path / "m" / WEIGHTS
    save_file({**tensors, "lm_head.weight": head}, place, metadata={"format": "pt"})
    load_model(tmp_path / "m")
    save_file({**tensors, "lm_head.weight": head + 1}, place, metadata={"format": "pt"})
    with pytest.raises(PlaceboError, match="tie_word_embeddings"):
        load_model(tmp_path / "m")
    assert [r.about for r in check_checkpoint(tmp_path / "m") if r.status == "wrong"] == ["weights"]
    (tmp_path / "m" / "model.safetensors.index.json").write_text("{}")  # the single file counts
    assert weight_files(tmp_path / "m") == [place]
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    for more, error in (
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "contradictory"),
        ({"model_type": "mistral", "sliding_window": "x"}, "is no number"),
    ):
        with pytest.raises(PlaceboError, match=error):
            from_hf(config | more, "config.json")


def test_saving_never_replaces_what_is_there(tmp_path, shipped):
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    (tmp_path / ".checkpoint-1.partial").mkdir()  # somebody's
    save(random_model(ARCHITECTURES["qwen2"], 0), shipped.tokenizer, folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(PlaceboError, match="not empty"):
        save(random_model(ARCHITECTURES["qwen2"], 1), shipped.tokenizer, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [".checkpoint-1.partial", "checkpoint-1"]


def test_the_digest_sees_every_shard(tmp_path, shipped):
    folder = tmp_path / "m"
    save(random_model(ARCHITECTURES["qwen2"]), shipped.tokenizer, folder)
    names = {}
    tensors = read_tensors(folder / WEIGHTS)
    for shard in ("a", "b"):
        (folder / shard).mkdir()
    for i, name in enumerate(tensors):
        names[name] = f"{'ab'[i % 2]}/m.safetensors"
    for file in set(names.values()):
        save_file({n: t for n, t in tensors.items() if names[n] == file}, folder / file)
    (folder / WEIGHTS).unlink()
    write_json(folder / "model.safetensors.index.json", {"weight_map": names})
    before = load(str(folder)).digest
    changed = {n: t + 1 for n, t in tensors.items() if names[n].startswith("a/")}
    save_file(changed, folder / "a/m.safetensors")
    assert load(str(folder)).digest != before
    for bad in ({"x": "../m.safetensors"}, {"x": "/etc/passwd"}, ["x"], {}):
        write_json(folder / "model.safetensors.index.json", {"weight_map": bad})
        with pytest.raises(PlaceboError, match="no weight files inside"):
            load(str(folder))
