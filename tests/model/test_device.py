"""Where a model goes; no GPU is needed to choose one."""

import pytest
import torch

from conftest import ARCHITECTURES, random_model
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.model.device import (
    TINY,
    choose,
    device_of,
    free_memory,
    name_of,
    place,
    repeatable,
)


def test_without_a_gpu_everything_is_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose("auto", 10 * TINY) == choose("cpu", 10 * TINY) == torch.device("cpu")
    with pytest.raises(PlaceboError, match="torch sees no GPU"):
        choose("cuda", 1)
    model = random_model(ARCHITECTURES["qwen2"])
    assert place(model) == device_of(model) == torch.device("cpu")
    assert (name_of(device_of(model)), free_memory(device_of(model))) == ("cpu", None)
    with repeatable(model):
        assert not torch.are_deterministic_algorithms_enabled()


def test_with_gpus_large_models_go_there_and_tiny_ones_where_they_are_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose("auto", TINY) == torch.device("cuda", 0)
    assert choose("auto", TINY - 1) == torch.device("cpu")
    assert choose("cuda", 1) == torch.device("cuda", 0)
    assert choose("cuda:1", 1) == torch.device("cuda", 1)
    with pytest.raises(PlaceboError, match=r"cuda:2: torch sees 2 GPU\(s\)"):
        choose("cuda:2", 1)


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:-1", "CPU", "", "mps", "cuda:0,1"])
def test_what_names_no_device_is_refused(asked):
    with pytest.raises(PlaceboError, match="must be auto, cpu, cuda"):
        choose(asked, 1)
