"""Benchmarks by name and files of every kind, with their mistakes."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.text import benchmarks
from rlvr_placebo.text.benchmarks import BENCHMARKS
from rlvr_placebo.text.duplicates import Shared, shared
from rlvr_placebo.text.problems import load_problems

DATA = Path(__file__).parents[3] / "shared" / "data"
ROWS = [
    {"Task": "1+1?", "Key": "2", "cluster": "sums"},
    {"Task": "2+2?", "Key": "4", "cluster": "sums"},
]


def written(folder, kind):
    path = folder / f"mine{kind}"
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == ".csv":
        path.write_text("Task,Key,cluster\n1+1?,2,sums\n2+2?,4,sums\n")
    elif kind == ".json":
        path.write_text(json.dumps(ROWS))
    else:
        text = "".join(json.dumps(r) + "\n" for r in ROWS)
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    return path


@pytest.mark.parametrize("kind", [".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet"])
def test_files_of_every_kind_with_columns_of_any_name(tmp_path, kind):
    path = written(tmp_path, kind)
    problems = load_problems(f"{path}?question=Task&answer=Key")
    assert [(p.question, p.golds, p.cluster, p.source) for p in problems] == [
        ("1+1?", ("2",), "sums", "mine"),
        ("2+2?", ("4",), "sums", "mine"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "problem,answer\n1,2,3\n", "row 1 has not as many fields"),
        ("a.csv", "problem,answer\n1\n", "row 1 has not as many fields"),
        ("a.json", "{}", "must hold a list"),
        ("a.json", "[1]", "problem 1: a problem must be a JSON object"),
        ("a.parquet", "x", "cannot be read"),
        ("a.jsonl.gz", "x", "it is no whole gzip file"),
        ("a.csv", "problem,problem,answer\n1,2,3\n", "two columns have the same name"),
        ("a.csv?answer=answer&answer=problem", "problem,answer\n1,2\n", "answer is named twice"),
        (
            "a.csv?question=Q",
            "problem,answer\n1,2\n",
            "has no column 'Q'; there are problem, answer",
        ),
        ("a.csv?q=Q", "problem,answer\n1,2\n", "'q=Q' must be one of question, answer"),
        ("a.csv?difficulty=answer", "problem,answer\n1,x\n", "none of the fields answer"),
    ],
)
def test_mistakes_in_files(tmp_path, name, content, message):
    (tmp_path / name.partition("?")[0]).write_text(content)
    with pytest.raises(PlaceboError, match=message):
        load_problems(str(tmp_path / name))


def test_columns_may_be_called_as_ours_are_and_mean_the_other(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("problem,answer\n7,What is 3+4?\n")
    (problem,) = load_problems(f"{path}?question=answer&answer=problem")
    assert (problem.question, problem.golds) == ("What is 3+4?", ("7",))


def test_a_torn_gzip_and_rows_that_are_no_values_are_told(tmp_path):
    whole = gzip.compress(b'{"problem": "x", "answer": 1}\n' * 50)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[:-12])
    with pytest.raises(PlaceboError, match="no whole gzip file"):
        load_problems(str(tmp_path / "a.jsonl.gz"))
    (tmp_path / "b.jsonl.gz").write_bytes(whole[:20] + b"\xff" * 9 + whole[29:])
    with pytest.raises(PlaceboError, match="no whole gzip file"):
        load_problems(str(tmp_path / "b.jsonl.gz"))
    late = pa.array([2**60], pa.timestamp("ms"))
    table = pa.table({"problem": ["x"], "answer": ["1"], "when": late})
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(PlaceboError, match="cannot be read"):
        load_problems(str(tmp_path / "c.parquet"))


def test_a_data_folder_that_is_none_and_a_benchmark_of_another_size_are_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLACEBO_DATA", str(tmp_path / "file"))
    with pytest.raises(PlaceboError, match="is no folder"):
        load_problems("math-500")
    assert "1 problems, where 500 are published" in benchmarks.unusual_size("math-500", 1)
    assert not benchmarks.unusual_size("math-500", 500)
    assert not benchmarks.unusual_size("mine.jsonl", 1)


def test_word_for_word_means_symbols_too():
    def problems(*questions):
        return [replace(load_problems("pocket-500")[0], messages=({"role": "user", "content": q},))
                for q in questions]  # fmt: skip

    pool = problems("Compute $3+5$.", "What is one and one and one and one?")
    assert shared(pool, problems("Compute $3-5$.")) == Shared()
    assert shared(pool, problems("compute  $3 + 5$.")).exact == 1
    near = shared(pool, problems("So: what is one and one and one and one?"))
    assert (near.exact, near.near) == (0, 1)


def test_offline_it_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACEBO_DATA", str(tmp_path))

    def offline(known):
        raise OSError("no network")

    monkeypatch.setattr(benchmarks, "_from_hub", offline)
    with pytest.raises(PlaceboError) as found:
        load_problems("math-500")
    said = str(found.value)
    for part in ("test.jsonl", "HuggingFaceH4/MATH-500", str(tmp_path), "math-500.jsonl"):
        assert part in said
    (tmp_path / "math-500.jsonl").write_text('{"problem": "x", "answer": 1}\n' * 2)
    assert len(load_problems("math-500")) == 1  # as published; each problem once


@pytest.mark.parametrize(
    ("name", "size"), [("math-500", 500), ("amc", 83), ("aime-2024", 30), ("aime-2025", 30),
                       ("deepscaler", 39120)]  # of 39,808 rows
)  # fmt: skip
def test_benchmarks_by_name(name, size, monkeypatch):
    if not DATA.exists():
        pytest.skip("the benchmarks are not beside the project")
    monkeypatch.setenv("PLACEBO_DATA", str(DATA))
    problems = load_problems(name)
    assert len(problems) == size  # each problem once
    assert all(p.golds[0] for p in problems)
    assert name in BENCHMARKS
