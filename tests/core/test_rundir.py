import json
import subprocess
import sys

import pytest

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import read_jsonl, write_atomic, write_json
from rlvr_placebo.core.rundir import claim, open_run


def test_claims_writes_and_checks(tmp_path):
    with claim(tmp_path / "run", {"a": 1}, resume=False) as run:
        run.append("metrics.jsonl", {"kind": "step", "step": 1})
        run.append("timings.jsonl", {"step": 1, "seconds": 3})
        run.finish({"steps": 1})
    run = open_run(tmp_path / "run")
    assert run.config == {"a": 1}
    assert run.metrics("step") == [{"kind": "step", "step": 1}]
    assert run.damaged_files() == []
    assert "timings.jsonl" not in run.read_json("result.json")["checksums"]
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    assert run.damaged_files() == ["metrics.jsonl"]
    (tmp_path / "run" / "stray.txt").write_text("x")
    assert run.damaged_files() == ["metrics.jsonl", "stray.txt"]


def test_a_used_directory_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PlaceboError, match="output directory in use"), claim(tmp_path, {}, False):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(PlaceboError, match="not a run directory"), claim(tmp_path, {}, True):
        pass


def test_another_configuration_is_named(tmp_path):
    with claim(tmp_path, {"loss": {"kl": 0}, "steps": 5}, False):
        pass
    different = {"loss": {"kl": 1}, "steps": 5}
    with pytest.raises(PlaceboError, match=r"loss\.kl differ"), claim(tmp_path, different, True):
        pass


def test_two_processes_cannot_write_one_run(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from rlvr_placebo.core.rundir import claim\n"
        f"with claim(Path({str(tmp_path)!r}), {{}}, True):\n"
        "    print('mine', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(PlaceboError, match="another process"), claim(tmp_path, {}, True):
            pass
    finally:
        other.communicate()
    with claim(tmp_path, {}, True):
        pass  # the lock went with its owner


def test_rewind_drops_what_came_later(tmp_path):
    with claim(tmp_path, {}, False) as run:
        for step in (0, 1, 2):
            run.append("metrics.jsonl", {"kind": "step", "step": step})
            write_atomic(tmp_path / f"rollouts/step-{step:06d}.parquet", b"x")
            write_atomic(tmp_path / f"checkpoints/checkpoint-{step}/config.json", "{}")
        with (tmp_path / "metrics.jsonl").open("a") as stream:
            stream.write('{"kind":"st')  # torn by a crash
        (tmp_path / ".config.json.partial").write_text("")
        (tmp_path / "checkpoints/.checkpoint-3.partial").mkdir()
        run.rewind(1)
        assert [r["step"] for r in run.metrics("step")] == [0, 1]
        names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    assert names == [
        "checkpoints", "checkpoints/checkpoint-0", "checkpoints/checkpoint-0/config.json",
        "checkpoints/checkpoint-1", "checkpoints/checkpoint-1/config.json", "config.json",
        "metrics.jsonl", "rollouts", "rollouts/step-000000.parquet", "rollouts/step-000001.parquet",
    ]  # fmt: skip


def test_a_users_files_are_never_taken_for_ours(tmp_path):
    (tmp_path / "download.partial").write_text("mine")
    with pytest.raises(PlaceboError, match="in use"), claim(tmp_path, {}, False):
        pass
    run_path = tmp_path / "run"
    with claim(run_path, {}, False) as run:
        names = ("rollouts/.DS_Store", "rollouts/notes.partial", "checkpoints/readme-9")
        for name in names:
            write_atomic(run_path / name, "x")
        run.rewind(-1)
        assert all((run_path / name).exists() for name in names)


def test_a_torn_line_is_not_read(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"a":1}\n{"a":')
    assert read_jsonl(path) == [{"a": 1}]
    assert read_jsonl(tmp_path / "none") == []


def test_an_unknown_schema_is_refused(tmp_path):
    write_json(tmp_path / "config.json", {"schema": 99, "config": {}})
    with pytest.raises(PlaceboError, match="schema 99"):
        open_run(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PlaceboError, match="cannot be read"):
        open_run(tmp_path)


def test_json_is_readable(tmp_path):
    write_json(tmp_path / "x.json", {"γ": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"γ": 1}
