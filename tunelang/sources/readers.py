"""Files -> raw rows: one reader per ending, each row with the place it came from.

txt gives one row a line that is not empty, as `datasets` reads text; md gives one row a file.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunelang.diagnostic import error
from tunelang.sources import RowError

Raw = tuple[dict[str, Any], str]  # values by column, and `file:line`
UTF8 = "utf-8-sig"  # a byte order mark, which some editors write, is no part of the first row
# What people call the values of JSON, Parquet and Arrow.
KINDS = {
    type(None): "nothing (null)",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def read_file(path: str) -> Iterator[Raw]:
    """The rows of one file. Raises RowError for what cannot be read."""
    reader = READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise unreadable(
            path, "has an ending that is not known", f"known are {', '.join(sorted(READERS))}"
        )
    try:
        yield from reader(path)
    except UnicodeDecodeError:
        raise unreadable(f"{path}{_first_bad_line(path)}", "is not UTF-8", RECODE) from None
    except OSError as problem:
        raise unreadable(path, f"cannot be read: {problem.strerror or problem}") from None


RECODE = "save it as UTF-8: `iconv -f latin1 -t utf-8`, if latin1 is what it is"


def unreadable(place: str, why: str, help: str = "") -> RowError:
    """TL320: the row or file at `place` cannot be read."""
    return RowError(error("TL320", "unreadable-row", f"{place} {why}", None, help=help))


def kind_of(value: Any) -> str:
    """What a person calls the kind of a value."""
    return KINDS.get(type(value), type(value).__name__)


def _first_bad_line(path: str) -> str:
    """`:line` of the first line that is not UTF-8."""
    for number, raw in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return f":{number}"
    return ""


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Lines that hold something. Only \\n ends one: \\u2028 may stand inside JSON."""
    with Path(path).open(encoding=UTF8, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def _jsonl(path: str) -> Iterator[Raw]:
    for number, line in _lines(path):
        place = f"{path}:{number}"
        yield _object(_parsed(line, place), place), place


def _parsed(text: str, place: str) -> Any:
    """A JSON value; a mistake is told by its line within the text where there are several."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        line = f":{problem.lineno}" if "\n" in text else ""
        column = f" at column {problem.colno}"
        raise unreadable(f"{place}{line}", f"is not JSON: {problem.msg}{column}") from None
    except (ValueError, RecursionError):
        raise unreadable(place, "is JSON with a number or a nesting that is too long") from None


def _object(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise unreadable(place, f"holds {kind_of(row)}, not an object with columns")
    return row


def _json(path: str) -> Iterator[Raw]:
    rows = _parsed(Path(path).read_text(encoding=UTF8), path)
    rows = rows.get("data") if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        raise unreadable(path, 'is neither a list of rows nor {"data": [rows]}')
    for number, row in enumerate(rows, 1):
        yield _object(row, f"{path} row {number}"), f"{path} row {number}"


def _csv(path: str) -> Iterator[Raw]:
    csv.field_size_limit(sys.maxsize)  # 131,072 characters by default: too short for documents
    with Path(path).open(encoding=UTF8, newline="") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            for row in rows:
                place = f"{path}:{rows.line_num}"
                if None in row or None in row.values():
                    raise unreadable(place, "has another number of cells than the header")
                yield dict(row), place
        except csv.Error as problem:
            line = rows.line_num + 1  # the reader has not counted the line it failed on
            raise unreadable(f"{path}:{line}", f"is not CSV: {problem}") from None


def _txt(path: str) -> Iterator[Raw]:
    for number, line in _lines(path):
        yield {"text": line}, f"{path}:{number}"


def _md(path: str) -> Iterator[Raw]:
    yield {"text": Path(path).read_text(encoding=UTF8)}, path


def _columns(path: str) -> Iterator[Raw]:
    """Parquet and Arrow, a batch of rows at a time."""
    try:
        import pyarrow
    except ImportError:
        raise unreadable(path, "needs pyarrow", "pip install pyarrow") from None
    number = 0
    try:
        for batch in _batches(path, pyarrow):
            for row in batch.to_pylist():
                number += 1
                yield row, f"{path} row {number}"
    except pyarrow.ArrowException as problem:
        raise unreadable(path, f"is damaged: {problem}") from None


def _batches(path: str, arrow: Any) -> Iterator[Any]:
    """Record batches of a Parquet file, or of an Arrow file in either of its two layouts."""
    if path.lower().endswith(".parquet"):
        from pyarrow import parquet

        yield from parquet.ParquetFile(path).iter_batches()
        return
    with arrow.memory_map(path) as file:
        try:
            opened = arrow.ipc.open_file(file)
        except arrow.ArrowInvalid:  # `datasets` writes the streaming layout
            file.seek(0)
            yield from arrow.ipc.open_stream(file)
            return
        for number in range(opened.num_record_batches):
            yield opened.get_batch(number)


READERS: dict[str, Callable[[str], Iterator[Raw]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".txt": _txt,
    ".md": _md,
    ".parquet": _columns,
    ".arrow": _columns,
}
