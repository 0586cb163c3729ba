"""The run directory: the only thing between training and everything above it.

::

    config.json          what was asked for, with its hash            ┐
    metrics.jsonl        one line per step and per evaluation         │ byte-identical for the same
    rollouts/*.parquet   every trained completion, with its score     │ config, machine and thread
    evaluations/*.parquet  every evaluated sample                     │ count, whatever was killed
    labels.parquet       votes of the untrained model, if asked for   │
    checkpoints/checkpoint-<step>/   Hugging Face format              │ and resumed in between
    result.json          names the final checkpoint; checksums of all ┘
    timings.jsonl, environment.json   dates, durations, host: outside the checksums
    state.safetensors, parts/   only while unfinished: what a resumed run goes on from
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_placebo.core.errors import BusyError, PlaceboError
from rlvr_placebo.core.files import (
    canonical_json,
    digest,
    file_digest,
    read_jsonl,
    read_table,
    write_atomic,
    write_json,
)

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 2
READABLE_SCHEMAS = (2, 1)  # this one and the one before
STATE = "state.safetensors"
OWN_FILES = ("config.json", "metrics.jsonl", "environment.json", "result.json", "labels.parquet",
             STATE)  # fmt: skip
UNCHECKED = ("timings.jsonl", "environment.json", "result.json", STATE)
FOLDERS = ("rollouts", "evaluations", "checkpoints")
PARTS = "parts"  # of long work that is under way; gone when it is done


class RunDirectory:
    """One run's files. Make one with :func:`claim` (to write) or :func:`open_run` (to read)."""

    def __init__(self, path: Path) -> None:
        """Wrap a directory; nothing is read or written yet."""
        self.path = path
        self._digests: dict[str, tuple[tuple[int, int], str]] = {}

    # ---- writing -------------------------------------------------------------------------------

    def append(self, name: str, record: Mapping[str, object]) -> None:
        """Append one line to ``metrics.jsonl`` or ``timings.jsonl``, durably."""
        with (self.path / name).open("a", encoding="utf-8") as stream:
            stream.write(canonical_json(_finite(record)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def rewind(self, step: int) -> None:
        """Drop everything written after ``step``: a resumed run writes it again, byte for byte.

        A checkpoint of ``step`` itself stays; ``step = -1`` empties the directory.
        """
        kept = [r for r in read_jsonl(self.path / "metrics.jsonl") if r.get("step", 0) <= step]
        if kept or (self.path / "metrics.jsonl").exists():
            lines = "".join(canonical_json(record) + "\n" for record in kept)
            write_atomic(self.path / "metrics.jsonl", lines)
        self._mend("timings.jsonl")
        for folder in FOLDERS:
            for entry in sorted((self.path / folder).glob("*")):
                if _STEP.fullmatch(entry.name) and _step_of(entry) > step:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            for leftover in (self.path / folder).glob(".*.partial"):
                if _STEP.match(leftover.name[1:]):
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        for leftover in self.path.glob(".*.partial"):
            if leftover.name[1:].removesuffix(".partial") in OWN_FILES:
                leftover.unlink()

    def _mend(self, name: str) -> None:
        """Cut off a last line that a crash has torn, so that the next one stands by itself."""
        path = self.path / name
        if path.exists() and not (text := path.read_bytes()).endswith(b"\n"):
            write_atomic(path, text[: text.rfind(b"\n") + 1])

    def finish(self, result: Mapping[str, object]) -> None:
        """Write ``result.json`` with the checksums of every checked file, and drop the state."""
        shutil.rmtree(self.path / PARTS, ignore_errors=True)
        document = {**result, "schema": SCHEMA, "checksums": self.checksums()}
        write_json(self.path / "result.json", document)
        (self.path / STATE).unlink(missing_ok=True)

    # ---- reading -------------------------------------------------------------------------------

    def checked_files(self) -> list[str]:
        """Relative paths of every file that must be byte-identical when the run is repeated."""
        files = (p for p in self.path.rglob("*") if p.is_file())
        names = (p.relative_to(self.path).as_posix() for p in files)
        return sorted(
            n for n in names
            if n not in UNCHECKED and not n.endswith(".partial") and not n.startswith(f"{PARTS}/")
        )  # fmt: skip

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every checked file; a file is read again only when it has changed."""
        found = {}
        for name in self.checked_files():
            status = (self.path / name).stat()
            mark = (status.st_size, status.st_mtime_ns)
            if name not in self._digests or self._digests[name][0] != mark:
                self._digests[name] = (mark, file_digest(self.path / name))
            found[name] = self._digests[name][1]
        return found

    def read_json(self, name: str) -> dict[str, Any]:
        """Read one JSON file of the directory."""
        try:
            document = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PlaceboError(f"{self.path / name}: cannot be read ({error})") from None
        if not isinstance(document, dict):
            raise PlaceboError(f"{self.path / name}: damaged (not a JSON object)")
        return document

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration as it was written."""
        config = self.read_json("config.json").get("config")
        if not isinstance(config, dict):
            raise PlaceboError(f"{self.path / 'config.json'}: damaged (it has no config)")
        return config

    def must_be(self, config: Mapping[str, object]) -> None:
        """Refuse a directory that holds a run of another configuration.

        Raises:
            PlaceboError: the entries that differ are named.
        """
        keys = sorted(differences(self.config, json.loads(canonical_json(config))))
        if keys:
            raise PlaceboError(
                f"{self.path}: holds a run with another configuration ({', '.join(keys)} differ); "
                "choose another --out"
            )

    @property
    def finished(self) -> bool:
        """Whether the run wrote its result."""
        return (self.path / "result.json").exists()

    def metrics(self, kind: str) -> list[dict[str, Any]]:
        """The records of one kind (``step`` or ``evaluation``) in order."""
        return [r for r in read_jsonl(self.path / "metrics.jsonl") if r.get("kind") == kind]

    def evaluation(self, step: int) -> pa.Table:
        """Every sample of the evaluation after ``step`` (0: before training)."""
        return read_table(self.path / "evaluations" / f"step-{step:06d}.parquet")

    def damaged_files(self, checksums: Mapping[str, str] | None = None) -> list[str]:
        """Names of files that are missing, stray, or differ from their checksums.

        Args:
            checksums: what they should be; by default what ``result.json`` says.
        """
        wanted = self.read_json("result.json").get("checksums") if checksums is None else checksums
        if not isinstance(wanted, Mapping):
            return ["result.json"]
        found = self.checksums()
        return sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))

    def must_be_whole(self, checksums: Mapping[str, str] | None = None) -> None:
        """Refuse a directory whose files are not those that the run wrote.

        Raises:
            PlaceboError: the files that are missing, stray or changed are named.
        """
        damaged = self.damaged_files(checksums)
        if damaged:
            more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
            raise PlaceboError(
                f"{self.path}: damaged: {', '.join(damaged[:3])}{more} (missing, stray or changed "
                "since they were written); delete the directory and run again"
            )


def _finite(value: object) -> object:
    """JSON has no infinity: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_STEP = re.compile(r"(?:step-(\d{6,})\.parquet|checkpoint-(\d+))")


def _step_of(entry: Path) -> int:
    """Step number in ``step-000010.parquet`` or ``checkpoint-10``."""
    match = _STEP.fullmatch(entry.name)
    assert match is not None
    return int(match[1] or match[2])


def open_run(path: Path) -> RunDirectory:
    """Open a run directory for reading.

    Raises:
        PlaceboError: it is no run directory, or one of a schema this version cannot read.
    """
    run = RunDirectory(path)
    if not (path / "config.json").exists():
        raise PlaceboError(f"{path}: not a run directory (it has no config.json)")
    schema = run.read_json("config.json").get("schema")
    if schema not in READABLE_SCHEMAS:
        raise PlaceboError(f"{path}: schema {schema} is not one of {READABLE_SCHEMAS}")
    return run


def check_place(path: Path) -> None:
    """Refuse a place for output that is a file, or lies inside a run's directory.

    Raises:
        PlaceboError: it is one, or does.
    """
    try:
        if path.exists() and not path.is_dir():
            raise PlaceboError(f"{path}: is a file; choose a directory")
        for parent in path.resolve().parents:
            if (parent / "config.json").exists() and (parent / "environment.json").exists():
                raise PlaceboError(f"{path}: lies inside the run {parent}; choose another")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PlaceboError(f"{str(path)[:200]!r}: cannot be used for output ({reason})") from None


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold a directory exclusively, made if missing, until the block ends or the process dies.

    Raises:
        BusyError: another process holds it.
        PlaceboError: it is a file, or cannot be made.
    """
    check_place(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDONLY)
    except OSError as error:
        shown = str(path) if len(str(path)) < 200 else f"{str(path)[:200]}…"
        raise PlaceboError(f"{shown}: cannot be used for output ({error.strerror})") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"{path}: another process is writing this directory") from None
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def claim(path: Path, config: Mapping[str, object], resume: bool) -> Generator[RunDirectory]:
    """Take a directory for one run, exclusively, until the block ends.

    Args:
        path: where the run goes; made if missing.
        config: what ``config.json`` must hold (written if new, compared when resumed).
        resume: go on with an unfinished run of the same configuration.

    Raises:
        PlaceboError: the directory holds something else, or another process is writing it.
    """
    with locked(path):
        yield _claimed(RunDirectory(path), config, resume)


def _claimed(run: RunDirectory, config: Mapping[str, object], resume: bool) -> RunDirectory:
    """Check that the locked directory is empty or holds the same run, and write its config."""
    document = {"schema": SCHEMA, "config": config, "config_hash": digest(config)}
    if all(p.name == ".config.json.partial" for p in run.path.iterdir()):
        write_json(run.path / "config.json", document)
        return run
    if not resume:
        raise PlaceboError(
            f"{run.path}: output directory in use; add --resume to go on with the run in it, "
            "or choose another --out"
        )
    for folder in FOLDERS:
        if (run.path / folder).is_symlink():
            raise PlaceboError(f"{run.path / folder}: is a link; a run writes only into itself")
    open_run(run.path).must_be(config)
    return run


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of the entries in which two nested mappings differ."""
    found: set[str] = set()
    for key in a.keys() | b.keys():
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found |= differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found.add(f"{prefix}{key}")
    return found
