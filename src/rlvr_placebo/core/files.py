"""Files that are written whole or not at all, JSON with one spelling, and hashes of both."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_placebo.core.errors import PlaceboError

if TYPE_CHECKING:
    import pyarrow as pa


def cache_folder() -> Path:
    """Where built families are kept: ``$PLACEBO_CACHE``, or ``~/.cache/rlvr-placebo``."""
    chosen = os.environ.get("PLACEBO_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr-placebo"
    except RuntimeError:  # a user without a home, as in many containers
        return Path(tempfile.gettempdir()) / "rlvr-placebo"


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """Hash any JSON value to 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes | str | Callable[[Path], object]) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never half.

    Args:
        path: of the file.
        data: its content, or what writes it to the path it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    if callable(data):
        data(partial)
    else:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file (zstd) atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def kept(path: Path | None, schema: pa.Schema, make: Callable[[], pa.Table]) -> pa.Table:
    """A part of long work: made and left at ``path``, or read where a killed run has left it.

    Args:
        path: without one the part is made and not kept.
        schema: what a whole part has; anything else that lies there is made anew.
        make: does the work.
    """
    if path is None:
        return make()
    try:
        if path.exists() and (table := read_table(path)).schema.equals(schema):
            return table
    except PlaceboError:
        pass  # damaged: made anew
    write_table(path, make())
    return read_table(path)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a JSONL file; a torn last line (a crash) is left out.

    Raises:
        PlaceboError: a line is not a JSON object.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        records = [json.loads(line) for line in lines[:-1] if line]
    except ValueError as error:
        raise PlaceboError(f"{path}: damaged ({error})") from None
    if not all(isinstance(record, dict) for record in records):
        raise PlaceboError(f"{path}: damaged (a line is not an object)")
    return records


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or some columns of it.

    Raises:
        PlaceboError: it is missing or broken.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise PlaceboError(f"{path}: missing or damaged ({reason})") from None
