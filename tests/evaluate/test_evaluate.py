"""Work in a directory of its own: killed anywhere, it goes on and writes the same bytes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr_placebo.text.problems import load_problems

COMMAND = """
import os, signal, sys
from rlvr_placebo.cli.main import main
from rlvr_placebo.rollout.native import NativeEngine

calls, generate = [0], NativeEngine.generate

def counted(self, *given):
    if calls[0] == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    calls[0] += 1
    return generate(self, *given)

NativeEngine.generate = counted
status = main(sys.argv[2:])
print("calls", calls[0])
sys.exit(status)
"""


def run(out, kill_at, *command):
    """Run a command that dies at its n-th call of the engine, which it counts."""
    given = [sys.executable, "-c", COMMAND, str(kill_at), *command, "--out", str(out)]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    return subprocess.run(given, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("command", "calls", "file"),
    [
        ("eval --model pocket/no-code --benchmark 64.jsonl --samples 64 --max-tokens 8",
         5, "evaluations/step-000000.parquet"),
        ("probe --model pocket/no-code --benchmark 8.jsonl --clean 16.jsonl "
         "--max-tokens 8", 6, "probe.json"),
        ("prompts --model pocket/no-code --benchmark 8.jsonl --samples 2 --max-tokens 16 "
         "--templates plain boxed", 4, "prompts.json"),
    ],
)  # fmt: skip
def test_killed_and_resumed_it_goes_on_and_writes_the_same(
    tmp_path, monkeypatch, command, calls, file
):
    monkeypatch.chdir(tmp_path)
    problems = load_problems("pocket-500")
    for size in (8, 16, 64):
        rows = [json.dumps({"problem": p.question, "answer": p.golds[0]}) for p in problems[:size]]
        Path(f"{size}.jsonl").write_text("\n".join(rows) + "\n")
    whole = run(tmp_path / "whole", -1, *command.split())
    assert whole.returncode == 0, whole.stderr
    assert f"calls {calls}\n" in whole.stdout
    killed = run(tmp_path / "killed", calls - 1, *command.split())
    assert killed.returncode == -signal.SIGKILL
    resumed = run(tmp_path / "killed", -1, *command.split(), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "calls 1\n" in resumed.stdout  # what was done is not done again
    names = {str(p.relative_to(tmp_path / "whole")) for p in (tmp_path / "whole").rglob("*.*")}
    assert file in names
    for name in names - {"environment.json"}:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "killed" / "parts").exists()
