"""What the README tells a newcomer to type is typed here, in order, in an empty folder."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.core.rundir import open_run

README = Path(__file__).resolve().parents[1] / "README.md"


def test_bring_your_own(tmp_path):
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 5
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euc", "\n".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
        timeout=280,
    )
    assert open_run(tmp_path / "runs/after").evaluation(0).num_rows == 2 * (1 + 4)
    arms = json.loads((tmp_path / "runs/mine/summary.json").read_text())["arms"]
    assert [a["reward"] for a in arms[::2]] == [
        "mine.py:brief", "shuffle(mine.py:brief)", "mine.py:brief_trl", "random(0.5)"
    ]  # fmt: skip
    brief, _, trl, _ = StudyFolder.open(tmp_path / "runs/mine").finished_runs()
    steps = [r.evaluation(3)["text"] for r in (brief, trl)]
    assert steps[0].equals(steps[1])  # the two signatures pay for the same
    assert (tmp_path / "runs/mine/report.html").exists()
    assert open_run(tmp_path / "runs/honest").config["reward_name"] == (
        "all(ground_truth,not(python))"
    )


def test_every_command_named_exists():
    from rlvr_placebo.cli.commands import COMMANDS

    named = set(re.findall(r"(?m)^placebo +([a-z]+)", README.read_text()))
    assert named <= set(COMMANDS)
    assert len(named) >= 5
