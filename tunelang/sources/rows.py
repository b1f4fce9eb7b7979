"""Rows of a data set by role, and which of them are held out. Torch-free."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from tunelang.diagnostic import error
from tunelang.sources import RowError
from tunelang.sources.parts import DataPart, FilesSource, HoldOut, InlineSource
from tunelang.sources.readers import Raw, read_file
from tunelang.sources.shapes import normalise


@dataclass(frozen=True)
class Row:
    """Values by role of the format, and `file:line` of where they stand."""

    values: dict[str, Any]
    place: str

    @cached_property
    def mark(self) -> str:
        """sha256 of the values by role; the place does not count."""
        text = json.dumps(self.values, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Split(NamedTuple):
    train: list[Row]
    held_out: list[Row]


def raw_rows(source: FilesSource | InlineSource) -> Iterator[Raw]:
    """Rows by column, in the order of the files."""
    if isinstance(source, InlineSource):
        yield from ((row, f"inline row {number}") for number, row in enumerate(source.rows, 1))
        return
    for path in source.paths:
        yield from read_file(path)


def row(values: dict[str, Any], place: str, part: DataPart) -> Row:
    """One raw row in the roles of the part's format."""
    return Row(normalise(values, part.format, place), place)


def read(part: DataPart) -> list[Row]:
    """Every row of a local data set. Raises RowError where one cannot be read or there is none."""
    if not isinstance(part.source, FilesSource | InlineSource):
        msg = f"{part.name} is not local"
        raise TypeError(msg)
    rows = [row(values, place, part) for values, place in raw_rows(part.source)]
    if not rows:
        raise empty(f"`{part.name}` has no rows")
    return rows


def split(rows: Iterable[Row], part: DataPart) -> Split:
    """The first `limit` rows, those with the smallest hashes of their content set aside.

    The same rows whatever their order. The number held out is exact wherever equal rows, which
    stay on one side, let it be.
    """
    kept = list(rows)[: part.limit]
    if part.hold_out is None:
        return Split(kept, [])
    wanted = held_out_count(len(kept), part.hold_out)
    if not 0 < wanted < len(kept):
        left = "none to train on" if wanted else "none to measure on"
        raise empty(
            f"`{part.name}` has {len(kept)} rows, and holding out {wanted} leaves {left}",
            "change `hold_out` or `limit`",
        )
    marks = [each.mark for each in kept]
    aside = _set_aside(marks, wanted)
    pairs = list(zip(kept, marks, strict=True))
    train = [each for each, mark in pairs if mark not in aside]
    if not train:
        raise empty(f"every row of `{part.name}` is the same, so none can be held out")
    return Split(train, [each for each, mark in pairs if mark in aside])


def _set_aside(marks: Sequence[str], wanted: int) -> set[str]:
    """Groups of equal rows in the order of their hashes, as long as they fit into `wanted`.

    Where none fits, the smallest group.
    """
    count = Counter(marks)
    aside: set[str] = set()
    room = wanted
    for mark in sorted(count):
        if count[mark] <= room:
            aside.add(mark)
            room -= count[mark]
    return aside or {min(count, key=lambda mark: (count[mark], mark))}


def held_out_count(rows: int, hold_out: HoldOut) -> int:
    """How many of `rows` are set aside: at least one of a ratio."""
    if hold_out.rows is not None:
        return hold_out.rows
    return max(1, round(rows * (hold_out.ratio or 0.0)))


def empty(why: str, help: str = "") -> RowError:
    """TL312."""
    return RowError(error("TL312", "empty-after-filters", why, None, help=help))
