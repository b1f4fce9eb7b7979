"""Every ending is read as other tools write it; what cannot be read is named by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunelang.sources import RowError
from tunelang.sources.readers import read_file

ROWS = [{"text": "one"}, {"text": "zwei Übel\u2028und mehr"}]


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def values(path: str) -> list[dict[str, Any]]:
    return [row for row, _ in read_file(path)]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", lines(ROWS)),
        ("crlf.jsonl", lines(ROWS).replace("\n", "\r\n")),
        ("gaps.jsonl", "\n\n" + lines(ROWS).replace("\n", "\n\n")),
        ("mark.jsonl", "\ufeff" + lines(ROWS)),
        ("end.JSONL", lines(ROWS).rstrip("\n")),
        ("list.json", json.dumps(ROWS)),
        ("data.json", json.dumps({"version": "1", "data": ROWS})),
        ("rows.csv", f"text\none\n{ROWS[1]['text']}\n"),
        ("mark.csv", f'\ufefftext\r\none\r\n"{ROWS[1]["text"]}"\r\n'),
        ("rows.txt", f"one\n\n{ROWS[1]['text']}"),
    ],
)
def test_layouts_of_one_table(tmp_path: Path, name: str, content: str) -> None:
    """Byte order marks, CRLF, empty lines and \\u2028 inside a value change no row."""
    assert values(write(tmp_path, name, content)) == ROWS


@pytest.mark.parametrize("ending", ["parquet", "arrow", "stream.arrow"])
def test_columnar_files(tmp_path: Path, ending: str) -> None:
    """Parquet, Arrow files, and the Arrow streams that `datasets` leaves in its cache."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table, path = arrow.Table.from_pylist(ROWS), str(tmp_path / f"rows.{ending}")
    if ending == "parquet":
        parquet.write_table(table, path)
    else:
        new = arrow.ipc.new_stream if "stream" in ending else arrow.ipc.new_file
        with new(path, table.schema) as out:
            out.write_table(table)
    assert list(read_file(path)) == [(row, f"{path} row {n}") for n, row in enumerate(ROWS, 1)]


def test_places_count_every_line(tmp_path: Path) -> None:
    """Empty lines and cells of several lines are counted, so a place can be opened."""
    jsonl = write(tmp_path, "a.jsonl", '\n{"a": 1}\n\n{"a": 2}\n')
    table = write(tmp_path, "a.csv", 'a,b\n"two\nlines",1\nx,2\n')
    assert [place for _, place in read_file(jsonl)] == [f"{jsonl}:2", f"{jsonl}:4"]
    assert [place for _, place in read_file(table)] == [f"{table}:3", f"{table}:4"]


def test_md_is_one_row(tmp_path: Path) -> None:
    """A Markdown file is one document."""
    assert values(write(tmp_path, "a.md", "# A\n\nb\n")) == [{"text": "# A\n\nb\n"}]


def test_long_csv_cells(tmp_path: Path) -> None:
    """Python's own limit of 131,072 characters a cell does not hold."""
    assert len(values(write(tmp_path, "a.csv", "text\n" + "x" * 200_000))[0]["text"]) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": }\n', "a.jsonl:2 is not JSON: Expecting value at column 7"),
        ("b.jsonl", '{"a": 1}\n[1]\n', "b.jsonl:2 holds a list, not an object with columns"),
        ("c.jsonl", "null\n", "c.jsonl:1 holds nothing (null), not an object with columns"),
        ("d.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', "d.jsonl:2 is not UTF-8"),
        ("e.jsonl", "[" * 100_000, "e.jsonl:1 is JSON with a number or a nesting that is too long"),
        ("f.jsonl", "9" * 5_000, "f.jsonl:1 is JSON with a number or a nesting that is too long"),
        ("a.json", '[\n{"a": 1},\n]', "a.json:3 is not JSON: "),
        ("b.json", '{"rows": []}', 'b.json is neither a list of rows nor {"data": [rows]}'),
        ("c.json", '[{"a": 1}, 2]', "c.json row 2 holds a number, not an object with columns"),
        ("a.csv", "a,b\n1,2\n1\n", "a.csv:3 has another number of cells than the header"),
        ("b.csv", "a,b\n1,2,3\n", "b.csv:2 has another number of cells than the header"),
        ("c.csv", 'a\n"x"y\n', "c.csv:2 is not CSV: "),
        ("a.txt", b"good\n\xff\n", "a.txt:2 is not UTF-8"),
        ("a.parquet", "PAR1 is this not", "a.parquet is damaged: "),
        ("a.arrow", "neither is this", "a.arrow is damaged: "),
        ("a.xlsx", "", "a.xlsx has an ending that is not known"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    """One sentence with the file and the line; no exception of a library gets out."""
    path = write(tmp_path, name, content)
    with pytest.raises(RowError) as problem:
        values(path)
    found = problem.value.diagnostic
    assert (found.code, found.name) == ("TL320", "unreadable-row")
    assert found.message.startswith(str(tmp_path / said))


def test_missing_file(tmp_path: Path) -> None:
    """A file that went away is told as such."""
    with pytest.raises(RowError, match="cannot be read: No such file or directory"):
        values(str(tmp_path / "gone.jsonl"))
