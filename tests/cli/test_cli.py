"""The command line as a user meets it: help, mistakes, a run from start to table."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr_placebo.cli.main import main
from rlvr_placebo.core.rundir import open_run

MODEL = ("--model", "pocket/code-prior")
SMALL = ("--steps", "1", "--set", "problems=4", "--set", "rollout.samples=4", "--set",
         "evaluation.samples=1", "--set", "evaluation.max_tokens=8", "--set",
         "pool=pocket-train@64")  # fmt: skip


def placebo(*arguments, check=False, **more):
    command = [sys.executable, "-m", "rlvr_placebo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check, timeout=200, **more)


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from rlvr_placebo.cli.main import main; main(['--help'])\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("train", "eval", "rewards", "benchmarks", "settings", "pocket", "study"):
        assert name in done.stdout


COMMANDS = [(), ("train",), ("eval",), ("pocket", "build"), ("study", "run"), ("settings",)]


@pytest.mark.parametrize("command", [(), *((*c, "--help") for c in COMMANDS)])
def test_every_command_has_help(command, capsys):
    assert main(list(command)) == 0
    assert "usage: placebo" in capsys.readouterr().out


def test_lists(capsys):
    assert main(["rewards"]) == main(["benchmarks"]) == main(["settings"]) == 0
    out = capsys.readouterr().out
    for word in ("ground_truth", "shuffle(REWARD)", "pocket-fresh", "loss.clip_high", "off"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--model", "nowhere", "--reward", "format"), "unknown model 'nowhere'"),
        (("train", "--model", "pocket/code-prio", "--reward", "format"), "did you mean"),
        (("train", "--model", "a/b/c", "--reward", "format"), "unknown model"),
        (("train", *MODEL, "--reward", "nonsense"), "unknown reward 'nonsense'"),
        (("train", *MODEL, "--reward", "random(1.5)"), "between 0 and 1"),
        (("train", *MODEL, "--reward", "random(-1)"), "between 0 and 1"),
        (("train", *MODEL, "--reward", "format", "--steps", "-1"), "steps: -1 must lie in"),
        (("train", *MODEL, "--reward", "format", "--steps", "many"), "--steps"),
        (("train", *MODEL, "--reward", "format", "--set", "stpes=1"), "did you mean 'steps'"),
        (("train", *MODEL, "--reward", "format", "--set", "steps"), "key=value"),
        (("train", *MODEL, "--reward", "format", "--recipe", "x"), "unknown recipe"),
        (("train", *MODEL, "--reward", "format", "--seed", "-1"), "seed: -1 must lie in"),
        (("train", *MODEL, "--rewad", "format"), "--rewad"),
        (("train", *MODEL), "--reward"),
        (("eval", *MODEL, "--benchmark", "pocket-501"), "unknown problem set"),
        (("eval", *MODEL, "--benchmark", "none.jsonl"), "cannot be read"),
        (("eval", *MODEL, "--benchmark", "pocket-500", "--temperature", "-1"), "0 (greedy)"),
        (("eval", *MODEL, "--benchmark", "pocket-500", "--temperature", "nan"), "0 (greedy)"),
        (("eval", *MODEL, "--benchmark", "pocket-500", "--temperature", "1e-45"), "0 (greedy)"),
        (("eval", *MODEL, "--benchmark", "pocket-500", "--seed", "-1"), "0 or more"),
        (
            ("train", *MODEL, "--reward", "format", "--steps", "1", "--set", "steps=2"),
            "given twice",
        ),
        (("pocket", "build", "code-prior", "--steps", "-5"), "--steps: at least 1"),
        (("eval", *MODEL, "--benchmark", "pocket-500", "--samples", "0"), "at least 1"),
        (("eval", *MODEL, "--benchmark", "pocket-500", "--template", "x"), "unknown template"),
        (("eval", *MODEL, "--benchmark", "pocket-500", "--max-tokens", "2000"), "2048 positions"),
        (("pocket", "build", "code-piror"), "did you mean 'code-prior'"),
        (("study", "run", "none.toml"), "cannot be read"),
        (("labels", "build", *MODEL, "--samples", "9" * 30), "must lie in"),
        (("labels", "build", *MODEL, "--seed", "9" * 30), "2^63"),
        (("train", *MODEL, "--reward", "format", "--seed", "9" * 401), "must lie in"),
        (("train", *MODEL, "--reward", "all(format,,python)"), "between two commas"),
        (("fly",), "fly"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    status = main([*arguments, *(("--out", str(out)) if arguments[0] != "fly" else ())])
    said = capsys.readouterr()
    assert status == 2
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert "Traceback" not in said.err
    assert not out.exists()


def test_a_broken_checkpoint_is_one_line(tmp_path, shipped, capsys):
    from rlvr_placebo.model.checkpoint import save
    from rlvr_placebo.model.folders import WEIGHTS

    save(shipped.model, shipped.tokenizer, tmp_path / "m")
    data = (tmp_path / "m" / WEIGHTS).read_bytes()
    (tmp_path / "m" / WEIGHTS).write_bytes(data[:1000])
    arguments = ["--model", str(tmp_path / "m"), "--out", str(tmp_path / "out")]
    assert main(["train", "--reward", "format", *arguments]) == 2
    assert main(["eval", "--benchmark", "pocket-500", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("unreadable or truncated") == 2
    assert len(said.strip().splitlines()) == 2


def test_an_output_directory_in_use_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("mine")
    assert main(["train", *MODEL, "--reward", "format", "--out", str(tmp_path), *SMALL]) == 2
    assert "output directory in use" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("x")
    arguments = ["--benchmark", "pocket-500", "--out", str(tmp_path / "file")]
    assert main(["eval", *MODEL, *arguments]) == 2
    assert "is a file" in capsys.readouterr().err


def test_train_then_eval_its_checkpoint(tmp_path):
    out = tmp_path / "run"
    arguments = ("train", *MODEL, "--reward", "format", "--out", out, *SMALL)
    done = placebo(*arguments, check=True)
    assert "format" in done.stdout
    assert "One seed only" in done.stdout
    assert "after step 0" in done.stderr
    refused = placebo(*arguments)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    again = placebo(*arguments, "--resume", check=True)
    assert again.stdout == done.stdout
    other = placebo(*arguments, "--resume", "--seed", "9")
    assert other.returncode == 2
    assert "another configuration (seed differ)" in other.stderr
    checkpoint = open_run(out).path / "checkpoints/checkpoint-1"
    measured = placebo("eval", "--model", checkpoint, "--benchmark", "pocket-hard", "--samples", 1,
                       "--temperature", 0, "--max-tokens", 8, "--out", tmp_path / "eval",
                       check=True)  # fmt: skip
    assert "pocket-hard" in measured.stdout
    evaluation = open_run(tmp_path / "eval")
    assert evaluation.damaged_files() == []
    assert evaluation.evaluation(0).num_rows == 500
    (entry,) = evaluation.metrics("evaluation")[0]["summary"]
    assert entry["accuracy"]["n"] == 500
    assert entry["accuracy"]["clusters"] == 48


def test_ctrl_c_then_resume(tmp_path):
    import signal

    out = tmp_path / "run"
    command = [sys.executable, "-m", "rlvr_placebo", "train", *MODEL, "--reward", "format", "--out",
               str(out), *SMALL[2:], "--steps", "40"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not (out / "rollouts").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "interrupted" in said
    assert subprocess.run([*command, "--resume"], capture_output=True, check=False).returncode == 0


def test_pocket_build_makes_the_same_bytes_twice(tmp_path):
    for name in ("a", "b"):
        placebo("pocket", "build", "code-prior", "--steps", 3, "--out", tmp_path / name, check=True)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["config.json", "generation_config.json", "model.safetensors",
                     "tokenizer.json", "tokenizer_config.json"]  # fmt: skip
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    refused = placebo("pocket", "build", "code-prior", "--out", tmp_path / "a")
    assert refused.returncode == 2
    assert "exists already" in refused.stderr


def test_the_shipped_tokenizer_is_the_one_that_is_built(tmp_path, shipped):
    from rlvr_placebo.pocket.vocabulary import write_vocabulary

    write_vocabulary(tmp_path)
    for path in shipped.tokenizer.files:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_it_works_from_any_folder(tmp_path):
    done = placebo("benchmarks", cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0
    assert list(Path(tmp_path).iterdir()) == []  # nothing is written where nothing was asked for


def test_summary_of_a_study_is_what_the_demo_promises(tmp_path):
    study = tmp_path / "s.toml"
    study.write_text(
        'models = ["pocket/code-prior"]\nrewards = ["format"]\nseeds = [1, 2]\n[settings]\n'
        'steps = 1\nproblems = 4\n"rollout.samples" = 4\n"evaluation.samples" = 1\n'
        '"evaluation.max_tokens" = 8\n'
    )
    done = placebo("study", "run", study, "--out", tmp_path / "out", check=True)
    assert "± is one standard error" in done.stdout
    arms = json.loads((tmp_path / "out/summary.json").read_text())["arms"]
    keys = {"model", "reward", "benchmark", "temperature", "seeds", "base", "final", "gain",
            "stderr", "n", "code_frequency_before", "code_frequency_after"}  # fmt: skip
    assert len(arms) == 2
    assert all(keys <= set(arm) for arm in arms)


def test_a_reader_that_leaves_does_not_stop_a_run(tmp_path):
    command = f"{sys.executable} -m rlvr_placebo train --model pocket/code-prior --reward format "
    command += f"--out {tmp_path / 'run'} {' '.join(SMALL)} 2>&1 | head -1"
    subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=100)
    assert open_run(tmp_path / "run").finished


@pytest.mark.parametrize("how", ["rewards | true", "rewards >&-", "rewards", "settings", "--help"])
def test_output_that_cannot_be_shown_is_no_failure(how):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = f"set -o pipefail; {sys.executable} -m rlvr_placebo {how}"
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def test_no_home_is_no_problem(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "PLACEBO_CACHE")}
    code = (
        "import os; os.path.expanduser = lambda p: p\n"
        "from rlvr_placebo.model.checkpoint import locate; print(locate('pocket/code-prior'))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_names_with_brackets_are_shown_as_they_are(tmp_path, capsys):
    folder = tmp_path / "m[/]"
    folder.mkdir(parents=True)
    few = folder / "few.jsonl"
    few.write_text('{"problem": "1+1?", "answer": "2"}\n')
    arguments = ["--model", "pocket/code-prior", "--benchmark", str(few), "--max-tokens", "4"]
    assert main(["eval", *arguments, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "m[/]" in "".join(shown.split())
    assert " 1 " in shown  # n
