"""What a run needs is said before it starts; less memory, the same gradient."""

from dataclasses import replace

import pytest
import torch

from conftest import ARCHITECTURES, random_model, sampled_groups
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.learner.batch import make_batch
from rlvr_placebo.learner.learner import Learner, OptimizerConfig
from rlvr_placebo.learner.losses import LossConfig
from rlvr_placebo.model.published import PAPER_MODELS, parameters
from rlvr_placebo.train import memory
from rlvr_placebo.train.memory import check_memory, needs
from rlvr_placebo.train.settings import make_config

A = ARCHITECTURES["qwen2"]


def config(**settings):
    return make_config("pocket/no-code", "ground_truth", "pocket", settings)


def test_weights_by_hand():
    plain = needs(config(), A, (1000, 1000), [[1] * 50])
    assert plain.weights == 4 * 4 * 1000  # weights, gradients, two moments
    assert needs(config(**{"loss.kl": 0.1}), A, (1000, 1000), [[1] * 50]).weights == 5 * 4 * 1000
    few = needs(config(**{"lora.rank": 4}), A, (1000, 10), [[1] * 50])
    assert few.weights == 4 * (1000 + 3 * 10)
    assert few.process > plain.process
    sgd = needs(config(**{"optimizer.name": "sgd"}), A, (1000, 1000), [[1] * 50])
    assert sgd.weights == 2 * 4 * 1000
    less = needs(config(**{"optimizer.checkpointing": True}), A, (1000, 1000), [[1] * 50])
    assert less.update < plain.update
    tight = config(**{"optimizer.micro_tokens": 100, "optimizer.minibatches": 1})
    wide = config(**{"optimizer.minibatches": 1})
    assert (
        needs(tight, A, (1000, 1000), [[1] * 50]).update
        < needs(wide, A, (1000, 1000), [[1] * 50]).update / 10
    )


def test_a_gpu_keeps_its_cache_in_place_and_narrow_numbers_take_half():
    shape = PAPER_MODELS["Qwen/Qwen2.5-Math-1.5B"].shape
    count = (parameters(shape),) * 2
    found = {
        (precision, gpu): needs(
            config(**{"precision": precision, "rollout.problems": 64, "rollout.max_tokens": 96}),
            shape, count, [[1] * 200], gpu,
        )
        for precision in ("float32", "bfloat16") for gpu in (False, True)
    }  # fmt: skip
    wide, narrow = found["float32", True], found["bfloat16", True]
    assert wide.weights == narrow.weights == 16 * count[0]
    assert found["float32", False].rollout - wide.rollout == pytest.approx(
        256 * (200 + 96) * 2 * 28 * 2 * 128 * 4
    )
    cache = 256 * (200 + 96) * 2 * 28 * 2 * 128 * 2
    assert wide.rollout - narrow.rollout == pytest.approx(cache - 2 * count[0])
    assert wide.update > found["float32", False].update


def test_what_does_not_fit_is_refused_with_advice(monkeypatch, tmp_path, capsys):
    need = needs(config(), A, (10**9, 10**9), [[1] * 50])
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    with pytest.raises(PlaceboError, match=r"needs about 16\.\d GB .* take a smaller model"):
        check_memory(config(), need)
    monkeypatch.setattr(memory, "available", lambda: None)
    check_memory(config(), need)
    monkeypatch.setattr(memory, "available", lambda: memory.PROCESS + (5 << 20))
    arguments = ["train", "--model", "pocket/no-code", "--reward", "format", "--out",
                 str(tmp_path / "r")]  # fmt: skip
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "are free; lower" in told
    assert not (tmp_path / "r").exists()


def test_this_machine_says_what_is_free():
    free = memory.available()
    assert free is None or free > 100 << 20


def test_checkpointing_changes_no_gradient(shipped, architecture):
    model = random_model(architecture)
    batch = make_batch(sampled_groups(shipped, model), "group_std")
    found = []
    for checkpointing in (False, True):
        still = OptimizerConfig("sgd", 0.0, minibatches=1, max_grad_norm=0.0)
        how = replace(still, checkpointing=checkpointing)
        Learner(model, LossConfig(), how, 1.0, 40).update(batch)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert found[0].norm() > 0
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--precision", "float8"), "precision 'float8'"),
        (("--max-rows", "0"), "max_rows 0: must be 1 or more"),
        (("--device", "cuda"), "torch sees no GPU"),
        ((), "are free; lower --max-rows or --max-tokens"),
    ],
)
def test_an_evaluation_that_cannot_be_is_one_line(more, line, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(memory, "available", lambda: 1 << 20)
    arguments = ["eval", "--model", "pocket/no-code", "--benchmark", "pocket-fresh@3", "--out",
                 str(tmp_path / "e"), *more]  # fmt: skip
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert line in told
    assert "Traceback" not in told
    assert not (tmp_path / "e").exists()
