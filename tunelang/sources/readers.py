"""Files -> raw rows: one reader per ending, each row with the place it came from.

txt gives one row a line that is not empty, md one row a file, as `datasets` reads text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunelang.diagnostic import error
from tunelang.sources import RowError

Raw = tuple[dict[str, Any], str]  # values by column, and `file:line`


def read_file(path: str) -> Iterator[Raw]:
    """The rows of one file. Raises RowError for what cannot be read."""
    reader = READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise unreadable(
            path, "has an ending that is not known", f"known are {', '.join(sorted(READERS))}"
        )
    try:
        yield from reader(path)
    except UnicodeDecodeError as problem:
        raise unreadable(path, f"is not UTF-8 (byte {problem.start})") from None
    except OSError as problem:
        raise unreadable(path, f"cannot be read: {problem.strerror or problem}") from None


def unreadable(place: str, why: str, help: str = "") -> RowError:
    return RowError(error("TL320", "unreadable-row", f"{place} {why}", None, help=help))


def _lines(path: str) -> Iterator[tuple[int, str]]:
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError:
                raise unreadable(f"{path}:{number}", "is not UTF-8") from None


def _jsonl(path: str) -> Iterator[Raw]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as problem:
            raise unreadable(place, f"is not JSON: {problem}") from None
        yield _object(row, place), place


def _object(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise unreadable(place, f"holds {type(row).__name__}, not an object with columns")
    return row


def _json(path: str) -> Iterator[Raw]:
    text = Path(path).read_text(encoding="utf-8")
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as problem:
        raise unreadable(f"{path}:{problem.lineno}", f"is not JSON: {problem.msg}") from None
    rows = rows.get("data") if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        raise unreadable(path, 'is neither a list of rows nor {"data": [rows]}')
    for number, row in enumerate(rows, 1):
        yield _object(row, f"{path} row {number}"), f"{path} row {number}"


def _csv(path: str) -> Iterator[Raw]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            for row in rows:
                place = f"{path}:{rows.line_num}"
                if None in row or None in row.values():
                    raise unreadable(place, "has another number of cells than the header")
                yield dict(row), place
        except csv.Error as problem:
            raise unreadable(f"{path}:{rows.line_num}", f"is not CSV: {problem}") from None


def _txt(path: str) -> Iterator[Raw]:
    for number, line in _lines(path):
        if line.strip():
            yield {"text": line.rstrip("\r\n")}, f"{path}:{number}"


def _md(path: str) -> Iterator[Raw]:
    yield {"text": Path(path).read_text(encoding="utf-8")}, path


def _columns(path: str) -> Iterator[Raw]:
    """Parquet and Arrow, a batch of rows at a time."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise unreadable(path, "needs pyarrow", "pip install pyarrow") from None
    try:
        opened = (
            parquet.ParquetFile(path) if path.endswith(".parquet") else arrow.ipc.open_file(path)
        )
        batches = (
            opened.iter_batches() if path.endswith(".parquet") else opened.read_all().to_batches()
        )
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield row, f"{path} row {number}"
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as problem:
        raise unreadable(path, f"is damaged: {problem}") from None


READERS: dict[str, Callable[[str], Iterator[Raw]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".txt": _txt,
    ".md": _md,
    ".parquet": _columns,
    ".arrow": _columns,
}
