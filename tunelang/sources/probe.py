"""What the rows of a local data set say before anything runs: how many, how long, how alike.

In comes a data part, out go facts for plans and rules. Every row is read once, so a mistake in one
is found here; the facts of a large set are remembered by its fingerprint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from tunelang.sources import fingerprint
from tunelang.sources.parts import DataPart, FilesSource
from tunelang.sources.rows import read, split

VERSION = 1  # of the facts; counted up when one is added or counted in another way
REMEMBER_FROM = 1 << 20  # bytes; smaller sets are read faster than looked up
SAMPLE = 200  # rows whose lengths are kept, evenly spread


@dataclass(frozen=True)
class Facts:
    """Rows are counted after `limit`; characters are those of all text in a row.

    `lengths` samples the training rows. Pairs are preference rows: `equal_pairs` have one reply
    twice, `chosen_characters` and `rejected_characters` are totals (0 for other formats).
    """

    rows: int
    train: int
    held_out: int
    characters: int
    longest: int
    lengths: tuple[int, ...]
    equal_pairs: int
    chosen_characters: int
    rejected_characters: int


def facts(part: DataPart) -> Facts:
    """The facts of a local part. Raises RowError where a row cannot be read or none is left."""
    return _facts(part.model_dump_json())


@lru_cache(maxsize=64)
def _facts(part_json: str) -> Facts:
    part = DataPart.model_validate_json(part_json)
    if _size(part) < REMEMBER_FROM:
        return _count(part)
    note = _note(part_json)
    try:
        kept = json.loads(note.read_text("utf-8"))
        return Facts(**{**kept, "lengths": tuple(kept["lengths"])})
    except (OSError, ValueError, TypeError, KeyError):
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
    lengths = [length(row.values) for row in train]
    every = max(1, len(lengths) // SAMPLE)
    pairs = [row.values for row in (*train, *held_out) if part.format.kind == "preference"]
    return Facts(
        rows=len(train) + len(held_out),
        train=len(train),
        held_out=len(held_out),
        characters=sum(lengths),
        longest=max(lengths),
        lengths=tuple(lengths[::every]),
        equal_pairs=sum(pair["chosen"] == pair["rejected"] for pair in pairs),
        chosen_characters=sum(length(pair["chosen"]) for pair in pairs),
        rejected_characters=sum(length(pair["rejected"]) for pair in pairs),
    )


def length(values: Any) -> int:
    """Characters of all text in a row; of messages what is said, not who says it."""
    if isinstance(values, str):
        return len(values)
    if isinstance(values, Mapping):
        said = [values["content"]] if {"role", "content"} <= set(values) else values.values()
        return sum(map(length, said))
    return sum(map(length, values)) if isinstance(values, Sequence) else 0


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
