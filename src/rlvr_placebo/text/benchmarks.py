"""The benchmarks and pools that people report on, by name, and where their problems come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import cache_folder
from rlvr_placebo.core.hub import reachable


@dataclass(frozen=True)
class Benchmark:
    """One problem set that is not made here.

    Attributes:
        repository: on the Hugging Face hub, a dataset.
        revision: the commit of it that is fetched.
        file: of the repository.
        size: problems.
        published: when the problems became public; a model trained on later text may know them.
        reported: what papers report: samples per problem and temperature.
    """

    repository: str
    revision: str
    file: str
    size: int
    published: str
    reported: str


BENCHMARKS: Mapping[str, Benchmark] = {
    "math-500": Benchmark(
        "HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        "test.jsonl", 500, "2021-03 (MATH), 2023-05 (the 500)", "1 greedy sample",
    ),
    "amc": Benchmark(
        "AI-MO/aimo-validation-amc", "69d78a4a2c840e82d69af6bc742bda09005f6316",
        "data/train-00000-of-00001.parquet", 83, "2022-11, 2023-11",
        "mean of 8 at T = 0.6",
    ),
    "aime-2024": Benchmark(
        "HuggingFaceH4/aime_2024", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        "data/train-00000-of-00001.parquet", 30, "2024-02",
        "mean of 8 at T = 0.6",
    ),
    "aime-2025": Benchmark(
        "math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        "test.jsonl", 30, "2025-02", "mean of 8 at T = 0.6",
    ),
    "deepscaler": Benchmark(
        "agentica-org/DeepScaleR-Preview-Dataset", "b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29",
        "deepscaler.json", 40315, "2025-02 (older contests)",
        "a training pool",
    ),
    "gsm8k": Benchmark(
        "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866",
        "main/test-00000-of-00001.parquet", 1319, "2021-10", "1 greedy sample",
    ),
}  # fmt: skip
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet")


def unusual_size(name: str, problems: int) -> str:
    """A line where a benchmark of a known name has another number of problems than published."""
    if name not in BENCHMARKS or problems == BENCHMARKS[name].size:
        return ""
    return (
        f"{name}: {problems} problems, where {BENCHMARKS[name].size} are published (repeated ones "
        "count once)"
    )


def data_folder() -> Path:
    """Where problem files are looked for by name: ``$PLACEBO_DATA``, or ``data`` in the cache."""
    chosen = os.environ.get("PLACEBO_DATA")
    return Path(chosen) if chosen else cache_folder() / "data"


def locate(name: str) -> Path:
    """The file of a benchmark: one that was put into the data folder, else the hub's.

    Raises:
        PlaceboError: it is neither here nor to be had; which file to put where is said.
    """
    if data_folder().exists() and not data_folder().is_dir():
        raise PlaceboError(f"PLACEBO_DATA: {data_folder()} is no folder")
    stems = (name, name.replace("-", ""), name.replace("-", "_"))
    for stem in stems:
        for suffix in SUFFIXES:
            path = data_folder() / f"{stem}{suffix}"
            if path.exists():
                return path
    known = BENCHMARKS[name]
    try:
        return _from_hub(known)
    except Exception as error:  # noqa: BLE001 (the hub's library raises dozens of kinds)
        reason = "no network" if not reachable() else type(error).__name__
        raise PlaceboError(
            f"benchmark {name}: cannot be fetched ({reason}); put {known.file} of the dataset "
            f"{known.repository} into {data_folder()} as {name}{Path(known.file).suffix}"
        ) from None


def _from_hub(known: Benchmark) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(
        hf_hub_download(
            known.repository, known.file, repo_type="dataset", revision=known.revision,
            local_files_only=not reachable(),
        )
    )  # fmt: skip
