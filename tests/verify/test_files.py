"""`placebo verify`: files and pairs, mistakes, and going on after a kill."""

import json

import pytest

from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import BusyError, PlaceboError
from rlvr_placebo.verify import files


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


ROWS = [
    {"gold": "7", "answer": "7.0"},
    {"gold": r"\sqrt{8}", "answer": r"So \boxed{2\sqrt{2}}"},
    {"gold": ["3", "4"], "answer": 4},
    {"gold": "", "answer": "1"},
    {"gold": "7", "answer": None},
    {"gold": "naïve", "answer": "8"},
]


def test_a_file_is_judged_in_order(tmp_path, capsys):
    pairs = write(tmp_path / "pairs.jsonl", ROWS)
    out = tmp_path / "deep" / "out.jsonl"
    assert main(["verify", str(pairs), "--out", str(out)]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [f["correct"] for f in found] == [True, True, True, None, False, False]
    assert [f["status"] for f in found] == ["OK", "OK", "OK", "BAD_GOLD", "NO_ANSWER", "OK"]
    assert found[1]["extracted"] == r"2\sqrt{2}"
    assert "6 pairs: 3 right, 2 wrong, 1 BAD_GOLD" in capsys.readouterr().out
    assert [p.name for p in out.parent.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("damage", [b"", b"\0\0\n", b'"}\n[]\n'])
def test_a_killed_file_goes_on_to_the_same_bytes(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(files, "CHUNK", 10)
    rows = [{"gold": str(i % 7), "answer": str(i % 3)} for i in range(45)]
    pairs = write(tmp_path / "pairs.jsonl", rows)
    files.verify_file(pairs, tmp_path / "whole", 1, False, lambda *a: None)

    def killing(what, done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.verify_file(pairs, tmp_path / "out", 1, False, killing)
    (partial,) = tmp_path.glob(".out-*.partial")
    partial.write_bytes(partial.read_bytes()[:-5] + damage)
    heard = []
    summary = files.verify_file(pairs, tmp_path / "out", 1, True, lambda *a: heard.append(a))
    assert heard[0] == ("pairs", 20, 45)  # 19 whole lines were there
    assert summary.lines == 45
    assert summary.checked == 45
    assert summary.disagreements == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


def test_two_runs_into_one_place_do_not_mix(tmp_path):
    pairs = write(tmp_path / "pairs.jsonl", [{"gold": "7", "answer": "7"}] * 3)

    def again(what, done, total):
        with pytest.raises(BusyError, match="another process is writing"):
            files.verify_file(pairs, tmp_path / "out", 1, False, lambda *a: None)

    assert files.verify_file(pairs, tmp_path / "out", 1, False, again).lines == 3
    assert len((tmp_path / "out").read_text().splitlines()) == 3


def test_a_file_that_changes_while_it_is_judged_is_noticed(tmp_path):
    pairs = write(tmp_path / "pairs.jsonl", [{"gold": "7", "answer": "7"}] * 3)

    def changing(what, done, total):
        if done == 1:
            write(pairs, [{"gold": "8", "answer": "7"}] * 4)

    with pytest.raises(PlaceboError, match="was changed while it was judged"):
        files.verify_file(pairs, tmp_path / "out", 1, False, changing)
    assert not (tmp_path / "out").exists()


def test_a_long_answer_takes_bounded_room(tmp_path):
    pairs = write(tmp_path / "pairs.jsonl", [{"gold": "7", "answer": "x" * 1_000_000}] * 5)
    files.verify_file(pairs, tmp_path / "out", 1, False, lambda *a: None)
    assert (tmp_path / "out").stat().st_size < 5 * 4200


def test_disagreements_of_the_second_judge_are_listed(tmp_path, capsys):
    # 10 % is 10 to us (a unit) and 0.1 to arithmetic; both are said
    pairs = write(tmp_path / "pairs.jsonl", [{"gold": "10", "answer": "10%"}])
    arguments = ["verify", str(pairs), "--out", str(tmp_path / "out"), "--check", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["checked"], found["disagreements"]) == (1, 1)
    assert found["examples"][0]["answer"] == "10%"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gold", "7"], "give --gold and --answer"),
        ([], "give --gold and --answer"),
        (["none.jsonl", "--out", "o"], "none.jsonl: cannot be read"),
        (["bad.jsonl", "--out", "o"], "bad.jsonl:2: not JSON"),
        (["half.jsonl", "--out", "o"], "half.jsonl:1: a line must be an object with gold and"),
        (["list.jsonl", "--out", "o"], "list.jsonl:1: gold and answer must be texts"),
        (["bad.jsonl"], "a file needs --out"),
        (["good.jsonl", "--out", "good.jsonl"], "is there already"),
        (["good.jsonl", "--out", "o", "--workers", "0"], "--workers must lie in [1, 64]"),
        (["good.jsonl", "--out", "o", "--workers", "9999"], "--workers must lie in [1, 64]"),
        (["good.jsonl", "--out", "/dev/null"], "is there already"),
        (["good.jsonl", "--out", ""], "no name for a file"),
        (["good.jsonl", "--out", "good.jsonl/o"], "cannot be written"),
        (["good.jsonl", "--out", "x" * 250], "cannot be written"),
        (["/dev/null", "--out", "o"], "is no file of pairs"),
        (["empty.jsonl", "--out", "o"], "holds no pairs"),
        (["nan.jsonl", "--out", "o"], "nan.jsonl:1: not JSON (NaN is no number)"),
        (["bytes.jsonl", "--out", "o"], "bytes.jsonl:2: is not UTF-8"),
        (["--gold", "1", "--answer", "1", "--out", "o"], "give --gold and --answer alone"),
    ],
)
def test_mistakes(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"gold": "1", "answer": "1"}\nnot\n')
    (tmp_path / "half.jsonl").write_text('{"gold": "1"}\n')
    (tmp_path / "list.jsonl").write_text('{"gold": "1", "answer": [1]}\n')
    (tmp_path / "good.jsonl").write_text('{"gold": "1", "answer": "1"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "nan.jsonl").write_text('{"gold": NaN, "answer": 1}\n')
    (tmp_path / "bytes.jsonl").write_bytes(b'{"gold": 1, "answer": 1}\n{"gold": "\xff"}\n')
    assert main(["verify", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_one_pair_explains_itself(capsys):
    assert main(["verify", "--gold", r"\frac12", "--answer", r"So \boxed{0.5}"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("right, by the rule: numbers")
    assert r"read as  \frac{1}{2}" in said
    assert main(["verify", "--gold", "x+1", "--answer", "1+x", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["correct"], found["status"], found["rule"]) == (True, "OK", "values")
