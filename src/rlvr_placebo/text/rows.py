"""Rows of a table of problems, from JSONL, JSON, CSV or Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlvr_placebo.core.errors import PlaceboError

Row = tuple[str, dict[str, Any]]  # where it stands, and its columns


def read_rows(path: Path) -> Iterator[Row]:
    """Yield every row of a file and where it stands, e.g. ``mine.jsonl:3``.

    Raises:
        PlaceboError: the file cannot be read, or a row is no object.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        broken = path.suffix == ".gz" and not isinstance(error, UnicodeDecodeError)
        other = "it is no whole gzip file" if broken else "it is not UTF-8"
        reason = getattr(error, "strerror", None) or other
        raise PlaceboError(f"{path}: cannot be read ({reason})") from None
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    yield from {".jsonl": _jsonl, ".json": _json, ".csv": _csv}[kind](path, text)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PlaceboError(f"{path}: cannot be read ({reason})") from None
    for number, row in enumerate(rows, 1):
        yield f"{path}: row {number}", row


def _jsonl(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _object(_parsed(line, where), where)


def _json(path: Path, text: str) -> Iterator[Row]:
    rows = _parsed(text, str(path))
    if not isinstance(rows, list):
        raise PlaceboError(f"{path}: must hold a list of problems")
    for number, row in enumerate(rows, 1):
        yield f"{path}: problem {number}", _object(row, f"{path}: problem {number}")


def _csv(path: Path, text: str) -> Iterator[Row]:
    try:
        table = csv.DictReader(io.StringIO(text), strict=True)
        names = table.fieldnames or []
        if len(set(names)) < len(names):
            raise PlaceboError(f"{path}: two columns have the same name")
        for number, row in enumerate(table, 1):
            if None in row or None in row.values():
                raise PlaceboError(f"{path}: row {number} has not as many fields as the first line")
            yield f"{path}: row {number}", dict(row)
    except csv.Error as error:
        raise PlaceboError(f"{path}: not CSV ({error})") from None


def _parsed(text: str, where: str) -> Any:  # noqa: ANN401 (any JSON value)
    try:
        value = json.loads(text)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise PlaceboError(f"{where}: not JSON ({str(error)[:80]})") from None
    return value


def _object(row: object, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise PlaceboError(f"{where}: a problem must be a JSON object")
    return row
