"""`placebo models`: the paper's models, and everything that can be wrong with a checkpoint."""

import json

import pytest
import torch
from safetensors.torch import save_file

from conftest import ARCHITECTURES, FOREIGN, make_foreign, random_model
from rlvr_placebo.cli.main import main
from rlvr_placebo.model.check import check_checkpoint
from rlvr_placebo.model.checkpoint import save
from rlvr_placebo.model.folders import WEIGHTS, read_tensors
from rlvr_placebo.model.published import PAPER_MODELS


@pytest.fixture
def folder(tmp_path, shipped):
    save(random_model(ARCHITECTURES["qwen2"]), shipped.tokenizer, tmp_path / "m")
    return tmp_path / "m"


def wrong(folder):
    return [f"{one.about}: {one.says}" for one in check_checkpoint(folder) if one.status == "wrong"]


def edit(path, **changes):
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | changes))


def test_a_good_checkpoint_has_remarks_and_no_faults(folder, capsys):
    assert wrong(folder) == []
    assert main(["models", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "qwen2, 0.1 M parameters" in said
    assert "1 file: 0.1 M float32" in said
    assert "no chat template" in said


def test_all_faults_are_named_at_once(folder, capsys):
    tensors = read_tensors(folder / WEIGHTS)
    del tensors["model.norm.weight"]
    tensors["odd"] = torch.zeros(2)
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(3, 4)
    tensors["model.embed_tokens.weight"][0, 0] = torch.nan
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    edit(folder / "generation_config.json", eos_token_id=700)
    said = "\n".join(wrong(folder))
    for part in ("lack model.norm.weight", "hold odd", "up_proj.weight has shape (3, 4)",
                 "not finite numbers: model.embed_tokens.weight", "ids up to 700"):  # fmt: skip
        assert part in said
    assert main(["models", "check", str(folder)]) != 0
    assert "5 things are wrong" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "about"),
    [("config.json", "configuration"), (WEIGHTS, "weights"), ("tokenizer.json", "tokenizer")],
)
def test_broken_files_do_not_hide_each_other(folder, file, about):
    (folder / file).write_text("{")
    (folder / "generation_config.json").unlink()
    if file != "config.json":
        assert [line.split(":")[0] for line in wrong(folder)] == [about]
    else:
        assert {line.split(":")[0] for line in wrong(folder)} == {"configuration", "stops"}


def test_turns_that_end_in_no_stop_token(folder, shipped):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(
        {"id": shipped.tokenizer.size, "content": "<|im_end|>", "special": True,
         "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
    )  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}<|im_end|>")
    notes = [one.says for one in check_checkpoint(folder) if one.status == "note"]
    assert "turns end in <|im_end|>, which is no stop token: completions run on" in notes
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    assert "its chat template fails (no)" in wrong(folder)[-1]


def test_other_architectures_are_slower(tmp_path, shipped):
    make_foreign("gpt2", tmp_path / "m", shipped.tokenizer, **FOREIGN["gpt2"])
    (first, *_) = check_checkpoint(tmp_path / "m")
    assert first.status == "note"
    assert "slower" in first.says
    assert wrong(tmp_path / "m") == []


def test_the_list(capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "7.62 G" in said
    assert "pocket/code-prior" in said
    assert main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["published"]
    assert [row["model"] for row in rows] == list(PAPER_MODELS)
    assert all(row["evaluation"] < row["lora"] < row["full"] for row in rows)
    assert main(["models", "check", "pocket/nobody"]) == 2
