"""The paper's numbers, and a study that was never run."""

import json
from pathlib import Path

import pytest
from fakes import BASE, CONTROLS, MODEL, FakeStudy

from rlvr_placebo.analysis.evidence import base_name

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "paper_tables.json"


@pytest.fixture(scope="session")
def paper():
    if not REFERENCE.exists():
        pytest.skip("the paper's tables are not beside this checkout")
    return json.loads(REFERENCE.read_text(encoding="utf-8"))


@pytest.fixture
def fake(tmp_path):
    return FakeStudy(tmp_path / "study")


@pytest.fixture
def whole(fake):
    """Ground truth 40 points above every control, at five seeds, with prompt sweeps."""
    for seed in range(1, 6):
        fake.run("ground_truth", seed, 0.8)
        for control in CONTROLS:
            fake.run(control, seed, BASE)
    fake.sweep([base_name(MODEL)])
    fake.sweep([f"ground_truth-s{seed}" for seed in range(1, 6)], 0.8)
    return fake
