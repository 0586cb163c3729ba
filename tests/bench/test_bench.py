"""The benchmark runs, its floor is arithmetic, and its mistakes are one line."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from conftest import ARCHITECTURES
from rlvr_placebo.bench import floor
from rlvr_placebo.bench.alone import alone
from rlvr_placebo.bench.profiles import PROFILES, SCALING, find
from rlvr_placebo.bench.run import bench
from rlvr_placebo.cli.main import main

TINY = replace(PROFILES["step-8"], problems=2, samples=4, max_tokens=8, updates=2)


def test_the_floor_counts_the_products_of_the_least_work(monkeypatch):
    """With one second per multiplication, the floor is the number of multiplications."""
    monkeypatch.setattr(floor, "_timed", lambda rows, inner, outer: float(rows * inner * outer))
    a = ARCHITECTURES["qwen2"]
    per_token = 3 * (48 * 48 + 2 * 48 * 16 + 48 * 48 + 3 * 48 * 96)  # 3 layers
    head = 48 * 640
    prompts, completions = [32, 16], [[16, 16], [16, 16]]
    attention = (
        4 * 3 * 48 * (32 * 33 // 2 + 16 * 17 // 2 + 2 * (15 * 32 + 120) + 2 * (15 * 16 + 120)) / 2
    )  # of 2 · rows · inner · outer operations, one second each half
    found = floor.step_floor(a, prompts, completions, completions, updates=1)
    decoded = 15 * 4
    generation = 48 * per_token + 4 * head + decoded * (per_token + head) + attention
    assert found["generation"] == pytest.approx(generation)
    # 48 + 60 tokens; 62 rows are scored, and count as 64: shapes are timed at multiples of 4
    update = 3 * (108 * per_token + 64 * head) + 3 * attention
    assert found["update"] == pytest.approx(update)
    # what has no advantage costs no update; where all of a group have none, nor does its prompt
    less = floor.step_floor(a, prompts, completions, [[16], []], updates=1)
    assert less["generation"] == pytest.approx(generation)
    own = 4 * 3 * 48 * (32 * 33 // 2 + 15 * 32 + 120) / 2
    assert less["update"] == pytest.approx(3 * (48 * per_token + 16 * head) + 3 * own)


@pytest.mark.parametrize("profile", [TINY, replace(TINY, width=64, layers=1, name="wide"),
                                     replace(TINY, kind="generation")])  # fmt: skip
def test_one_side_alone(profile):
    heard = []
    entries = bench(profile, False, 2, lambda *given: heard.append(given))
    assert heard[-1] == (profile.name, 3, 3)
    for entry in entries:
        assert entry["repeats"] == 2
        assert entry["seconds"] >= 0
        assert entry["peer_seconds"] is None
        assert entry["ratio"] is None
    assert entries[0]["floor_fraction"] > 0


def test_both_sides_in_turns():
    pytest.importorskip("trl", reason="the extra `trl` is not installed")
    for profile in (TINY, replace(TINY, kind="generation")):
        for entry in bench(profile, True, 1, lambda *_: None):
            assert entry["peer_seconds"] >= 0
            assert entry["ratio"] == pytest.approx(entry["peer_seconds"] / entry["seconds"])
    assert torch.get_num_threads() == 1


def test_mistakes_and_json(capsys, monkeypatch):
    assert main(["bench", "--profiles", "step-9"]) == 2
    assert "did you mean 'step-8'" in capsys.readouterr().err
    assert main(["bench", "--repeats", "0"]) == 2
    assert "--repeats must be 1 or more" in capsys.readouterr().err
    monkeypatch.setitem(PROFILES, "step-8", TINY)
    assert main(["bench", "--profiles", "step-8", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["entries"]
    assert [e["name"] for e in found] == [f"step-8/{p}" for p in
                                          ("step", "generation", "scoring", "update")]  # fmt: skip


def test_scaling_has_its_own_profiles(capsys):
    assert [p.name for p in find((), scaling=True)] == list(SCALING)
    assert [p.name for p in find(("step-1", "step-8", "step-1"))] == ["step-1", "step-8"]
    assert main(["bench", "--scaling", "--profiles", "step-8"]) == 2
    assert "not both" in capsys.readouterr().err


def test_a_process_says_its_own_memory_and_works_beside_others():
    held = np.ones(1 << 27)  # 1 GB: what the parent holds is not the child's
    found = alone(TINY, "ours", 2, copies=2)
    assert held.sum() == 1 << 27
    assert len(found) == 2
    for one in found:
        assert len(one["seconds"]) == 2
        assert 100 < one["peak_mb"] < 900
    workers = replace(TINY, kind="workers", workers=2, name="workers")
    (entry,) = bench(workers, False, 1, lambda *_: None)
    assert entry["name"] == "workers/step"
    assert entry["seconds"] > 0


def test_nobody_computes_for_nobody():
    command = [sys.executable, "-m", "rlvr_placebo.bench.alone", json.dumps(asdict(TINY)), "ours",
               "100000"]  # fmt: skip
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert ended.returncode == 1
    assert b"nobody listens" in ended.stderr
