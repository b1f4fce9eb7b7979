"""What the rows of a local data set say before anything runs: how many, how long, how alike.

In comes a data part, out go facts for plans and rules. Every row is read once, so a mistake in one
is found here; the facts of a large set are remembered by its fingerprint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from tunelang.sources import fingerprint, said
from tunelang.sources.parts import DataPart, FilesSource, InlineSource
from tunelang.sources.rows import Row, raw_rows, read, split
from tunelang.sources.said import length as length

VERSION = 4  # of the facts; counted up when one is added or rows are read in another way
REMEMBER_FROM = 1 << 20  # bytes; smaller sets are read faster than looked up
SAMPLE = 200  # rows whose lengths are kept, evenly spread
MARKS = 4096  # marks kept of a set, the smallest: those of two sets meet where the sets do
MARK = 16  # hex digits of a mark: 64 bits, so that a million rows hardly ever share one by chance


@dataclass(frozen=True)
class Facts:
    """Rows are counted after `limit`; characters are those of all text in a row.

    `sequences` (the longest that a row makes) and `prompts` (what stands before its first reply)
    sample the same training rows. Pairs are preference rows: `equal_pairs` have one
    reply twice, `chosen_characters` and `rejected_characters` are totals (0 for other formats).
    `dialogues` are rows with several replies. Marks are hashes of rows, `asked` of their prompts.
    `labels` are the different labels or judgements of training rows, `held_labels` of those held
    out.
    """

    rows: int
    train: int
    held_out: int
    characters: int
    sequences: tuple[int, ...]
    prompts: tuple[int, ...]
    dialogues: int
    equal_pairs: int
    chosen_characters: int
    rejected_characters: int
    columns: tuple[str, ...]
    train_marks: tuple[str, ...]
    held_marks: tuple[str, ...]
    asked: tuple[str, ...]
    labels: tuple[str, ...] = ()
    held_labels: tuple[str, ...] = ()


def facts(part: DataPart) -> Facts:
    """The facts of a local part. Raises RowError where a row cannot be read or none is left."""
    return _facts(part.model_copy(update={"weight": 1.0}).model_dump_json())


def shared(ours: Iterable[str], theirs: Iterable[str]) -> int:
    """How many marks two sets share: at least so many, as only the smallest are kept."""
    return len(set(ours) & set(theirs))


@lru_cache(maxsize=64)
def _facts(part_json: str) -> Facts:
    part = DataPart.model_validate_json(part_json)
    if _size(part) < REMEMBER_FROM:
        return _count(part)
    note = _note(part_json)
    try:
        kept: dict[str, Any] = json.loads(note.read_text("utf-8"))
        lists = {name: tuple(each) for name, each in kept.items() if isinstance(each, list)}
        return Facts(**{**kept, **lists})
    except (OSError, ValueError, TypeError, AttributeError):
        found = _count(part)
        _remember(note, found)
        return found


def _size(part: DataPart) -> int:
    if not isinstance(part.source, FilesSource):
        return 0
    paths = [Path(path) for path in part.source.paths]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _count(part: DataPart) -> Facts:
    train, held_out = split(read(part), part)
    every = max(1, len(train) // SAMPLE)
    sampled = [row.values for row in train[::every]]
    return Facts(
        rows=len(train) + len(held_out),
        train=len(train),
        held_out=len(held_out),
        characters=sum(length(row.values) for row in train),
        sequences=tuple(map(said.sequence, sampled)),
        prompts=tuple(map(said.before_reply, sampled)),
        dialogues=sum(said.replies(row.values) > 1 for row in train),
        **_pairs(part, (*train, *held_out)),
        columns=_columns(part),
        train_marks=_smallest(row.mark for row in train),
        held_marks=_smallest(row.mark for row in held_out),
        asked=_smallest(
            fingerprint.of_text(text) for row in train if (text := said.asked(row.values))
        ),
        labels=_labels(train),
        held_labels=_labels(held_out),
    )


def _labels(rows: Iterable[Row]) -> tuple[str, ...]:
    """The labels of labelled rows or judgements of feedback rows, each once, as workers name it."""
    found = [row.values.get("label", row.values.get("good")) for row in rows]
    return tuple(sorted({str(each) for each in found if each is not None}))


def _pairs(part: DataPart, rows: Iterable[Row]) -> dict[str, Any]:
    pairs = [row.values for row in rows if part.format.kind == "preference"]
    return {
        "equal_pairs": sum(pair["chosen"] == pair["rejected"] for pair in pairs),
        "chosen_characters": sum(length(pair["chosen"]) for pair in pairs),
        "rejected_characters": sum(length(pair["rejected"]) for pair in pairs),
    }


def _columns(part: DataPart) -> tuple[str, ...]:
    assert isinstance(part.source, FilesSource | InlineSource)
    first, _ = next(raw_rows(part.source))
    return tuple(first)


def _smallest(marks: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({mark[:MARK] for mark in marks})[:MARKS])


def _note(part_json: str) -> Path:
    """Where facts are kept: the part names its fingerprint, format, limit and what is held out."""
    name = fingerprint.of_text(f"{VERSION}\0{part_json}")
    return user_cache_path("tunelang") / "facts" / f"{name[:32]}.json"


def _remember(note: Path, found: Facts) -> None:
    """Best effort: a cache that cannot be written only costs time."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        aside = note.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(asdict(found)), "utf-8")
        aside.replace(note)
    except OSError:
        return
