"""Benchmarks by name and files of every kind, with their mistakes."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.text import benchmarks
from rlvr_placebo.text.benchmarks import BENCHMARKS
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
        ("a.jsonl.gz", "x", "cannot be read"),
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
