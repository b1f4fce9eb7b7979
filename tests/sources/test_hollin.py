"""The data the repository ships is what its script writes, and has the properties it states."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

from tunelang.sources.parts import DataPart, FilesSource, HoldOut
from tunelang.sources.rows import raw_rows, read, split
from tunelang.sources.shapes import recognise

DATA = Path(__file__).parents[2] / "recipes" / "data"
FILES = ("texts", "conversations", "preferences", "prompts", "desks", "ranked", "feedback")
README = (DATA / "README.md").read_text("utf-8")


def load(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


def part(name: str) -> DataPart:
    source = FilesSource(paths=[str(DATA / f"{name}.jsonl")])
    form = recognise(next(raw_rows(source))[0])
    assert form is not None
    return DataPart(
        name=name, source=source, format=form, fingerprint="", hold_out=HoldOut(ratio=0.1)
    )


def test_the_script_writes_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes as those in the repository, and nothing but its own files."""
    spec = importlib.util.spec_from_file_location("make_hollin", DATA / "make.py")
    assert spec and spec.loader
    make = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_hollin", make)
    spec.loader.exec_module(make)
    make.write(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {f"{name}.jsonl": (DATA / f"{name}.jsonl").read_bytes() for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_no_row_stands_twice(name: str) -> None:
    """Otherwise a training row could stand among the held-out ones."""
    marks = Counter(row.mark for row in read(part(name)))
    assert max(marks.values()) == 1


def test_half_of_the_replies_have_the_manner() -> None:
    """So that PPO has something to raise; every chosen reply has it."""
    replies = [row["messages"][1]["content"] for row in load("conversations")]
    assert sum("Next step: " in reply for reply in replies) * 2 == len(replies)
    assert all("Next step: " in row["chosen"] for row in load("preferences"))


def test_the_manner_alone_does_not_win() -> None:
    """Half of the rejected replies have it: without an answer, twice, or about another part."""
    rejected = [row["rejected"] for row in load("preferences")]
    share = sum("Next step: " in reply for reply in rejected) / len(rejected)
    assert share == pytest.approx(1 / 2, abs=0.01)


def test_length_does_not_tell_which_is_chosen() -> None:
    """Chosen replies are longer in about half of the pairs and within 10% on average."""
    pairs = [(len(row["chosen"]), len(row["rejected"])) for row in load("preferences")]
    assert 0.4 < sum(chosen > rejected for chosen, rejected in pairs) / len(pairs) < 0.6
    assert fmean(first for first, _ in pairs) == pytest.approx(
        fmean(second for _, second in pairs), rel=0.1
    )


def test_the_three_desks_ask_in_other_words() -> None:
    """No question of one file stands in another, so rewards are not learnt by heart."""
    asked = {
        "conversations": {row["messages"][0]["content"] for row in load("conversations")},
        "preferences": {row["prompt"] for row in load("preferences")},
        "prompts": {row["prompt"] for row in load("prompts")},
    }
    for first, second in (*pairwise(asked), ("conversations", "prompts")):
        assert not asked[first] & asked[second]


def told(values: Any) -> list[str]:
    """Every text in a row, without its columns and who says it."""
    if isinstance(values, str | int):
        return [values] if isinstance(values, str) else []
    parts = values.values() if isinstance(values, dict) else values
    if isinstance(values, dict) and "content" in values:
        parts = [values["content"]]
    return [text for part in parts for text in told(part)]


def fives(values: Any) -> set[tuple[str, ...]]:
    """Every five words in a row of all text in a row."""
    words = re.findall(r"[\w']+", " ".join(told(values)).lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def nearest(name: str) -> list[float]:
    """Of each held-out row, the share of its fives that the nearest training row holds."""
    train, held_out = split(read(part(name)), part(name))
    known = [fives(row.values) for row in train]
    return [
        max(len(mine & theirs) for theirs in known) / len(mine)
        for row in held_out
        if (mine := fives(row.values))
    ]


@pytest.mark.parametrize("name", FILES)
def test_held_out_rows_are_no_copies(name: str) -> None:
    """No more is shared with the nearest training row than the README says."""
    found = nearest(name)
    said = re.search(rf"{name} (\d+)% and (\d+)%", README)
    assert said, f"README says nothing of {name}"
    assert round(median(found) * 100) == int(said[1])
    assert round(max(found) * 100) == int(said[2])
