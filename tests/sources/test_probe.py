"""Facts about rows are right, and those of a large set are read once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunelang.sources import RowError, probe
from tunelang.sources.parts import DataFormat, DataPart, FilesSource, HoldOut, InlineSource

PAIRS = DataFormat(
    kind="preference", columns={name: name for name in ("prompt", "chosen", "rejected")}
)


def pair(chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": "ab", "chosen": chosen, "rejected": rejected}


def test_facts_of_pairs() -> None:
    """Counts, lengths and equal replies, by hand."""
    rows = [pair("abcd", "x"), pair("same", "same"), pair("abc", "xy"), pair("a", "b")]
    part = DataPart(
        name="pairs",
        source=InlineSource(rows=rows),
        format=PAIRS,
        fingerprint="",
        limit=3,
        hold_out=HoldOut(rows=1),
    )
    found = probe.facts(part)
    assert (found.rows, found.train, found.held_out) == (3, 2, 1)
    assert (found.equal_pairs, found.chosen_characters, found.rejected_characters) == (1, 11, 7)
    assert len(found.sequences) == len(found.prompts) == 2
    assert set(found.prompts) == {2}


def test_messages_count_what_is_said() -> None:
    """Roles are not text."""
    assert probe.length({"messages": [{"role": "user", "content": "abc"}]}) == 3


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataPart:
    """A file that counts as large, and a cache of its own."""
    monkeypatch.setattr(probe, "REMEMBER_FROM", 1)
    monkeypatch.setattr(probe, "user_cache_path", lambda name: tmp_path / "cache" / name)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "x" * n}) + "\n" for n in range(1, 1001)))
    source = FilesSource(paths=[str(path)])
    form = DataFormat(kind="text", columns={"field": "text"})
    return DataPart(name="a", source=source, format=form, fingerprint="one")


def again(part: DataPart) -> probe.Facts:
    """The facts as another process would find them."""
    probe._facts.cache_clear()
    return probe.facts(part)


def test_large_sets_are_read_once(large: DataPart, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time only the note is read; another fingerprint or limit is another set."""
    first = again(large)
    assert first.characters == 500_500
    assert len(first.sequences) == 200

    def never(part: DataPart) -> Any:
        raise AssertionError(part.name)

    monkeypatch.setattr(probe, "read", never)
    assert again(large) == first
    for change in ({"fingerprint": "two"}, {"limit": 5}, {"hold_out": HoldOut(rows=2)}):
        with pytest.raises(AssertionError):
            again(large.model_copy(update=change))


def test_a_damaged_note_is_made_anew(large: DataPart, tmp_path: Path) -> None:
    """A cache never breaks a check."""
    first = again(large)
    (note,) = (tmp_path / "cache").rglob("*.json")
    note.write_text('{"rows": 3')
    assert again(large) == first
    assert json.loads(note.read_text())["rows"] == 1000


def test_mistakes_are_not_remembered(large: DataPart) -> None:
    """A set that cannot be read is read again when it was mended."""
    assert isinstance(large.source, FilesSource)
    path = Path(large.source.paths[0])
    whole = path.read_text()
    path.write_text(whole + "{")
    with pytest.raises(RowError):
        again(large)
    path.write_text(whole)
    assert again(large).rows == 1000
