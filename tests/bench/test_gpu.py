"""The script that measures a GPU, on a small model and the CPU: what it prints is what it did."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_part_is_measured_where_it_is_told():
    command = [sys.executable, "benchmarks/gpu.py", "--shapes", "tiny", "--device", "cpu",
               "--problems", "2", "--samples", "2", "--tokens", "8", "--repeats", "1"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["what"] for line in lines] == ["parity", "parity", "decode", "update"]
    exact, narrow, decode, update = lines
    assert exact["tokens"] == narrow["tokens"] == 8 * 4 * 64
    assert exact["max_nats"] < 1e-5
    assert exact["max_nats"] < narrow["max_nats"] < 0.3
    assert decode["tokens_per_second"] == 4 * 8 / decode["seconds"][0]
    assert 0 < decode["share_of_bandwidth"] < 1
    assert decode["ratio"] == decode["peer_seconds"][0] / decode["seconds"][0]
    for how in ("plain", "checkpointed"):
        assert 0 < update[how]["share_of_arithmetic"] < 1
