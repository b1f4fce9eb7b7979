"""Holding out is exact, deterministic and blind to order; equal rows stay together."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelang.sources import RowError
from tunelang.sources.parts import DataFormat, DataPart, FilesSource, HoldOut, InlineSource
from tunelang.sources.rows import Row, read, split

TEXT = DataFormat(kind="text", columns={"field": "text"})


def part(**given: Any) -> DataPart:
    source = given.pop("source", InlineSource(rows=[]))
    return DataPart(name="notes", source=source, format=TEXT, fingerprint="", **given)


def rows(texts: list[str]) -> list[Row]:
    return [Row({"text": text}, f"a.txt:{number}") for number, text in enumerate(texts, 1)]


def texts(found: list[Row]) -> list[str]:
    return [each.values["text"] for each in found]


@given(st.sets(st.text(), min_size=2, max_size=60), st.data())
def test_the_number_held_out_is_exact(words: set[str], data: st.DataObject) -> None:
    """With no equal rows exactly as many are set aside as asked, none twice, order kept."""
    kept = rows(sorted(words))
    wanted = data.draw(st.integers(1, len(kept) - 1))
    train, held_out = split(kept, part(hold_out=HoldOut(rows=wanted)))
    assert len(held_out) == wanted
    assert sorted(train + held_out, key=kept.index) == kept
    assert train == [each for each in kept if each in train]


@given(st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=40), st.integers(1, 3))
def test_equal_rows_stay_together(words: list[str], wanted: int) -> None:
    """No text is both trained and held out, whatever is repeated; never more than asked for
    unless every group of equal rows is larger."""
    if len(set(words)) < 2:
        return
    train, held_out = split(rows(words), part(hold_out=HoldOut(rows=wanted)))
    assert train and held_out
    assert not set(texts(train)) & set(texts(held_out))
    smallest = min(words.count(word) for word in words)
    assert len(held_out) <= max(wanted, smallest)


def test_order_and_places_do_not_matter() -> None:
    """The same rows are held out when a file is shuffled or cut in two."""
    words = [f"row {number}" for number in range(200)]
    shuffled = random.Random(0).sample(words, len(words))
    ten = part(hold_out=HoldOut(ratio=0.1))
    assert set(texts(split(rows(words), ten).held_out)) == set(
        texts(split(rows(shuffled), ten).held_out)
    )
    assert len(split(rows(words), ten).held_out) == 20


def test_the_limit_comes_first() -> None:
    """`limit` takes the first rows, and of those the ratio is held out."""
    found = split(
        rows([str(number) for number in range(100)]), part(limit=10, hold_out=HoldOut(ratio=0.2))
    )
    assert sorted(map(int, texts(found.train + found.held_out))) == list(range(10))
    assert len(found.held_out) == 2


def test_without_hold_out_all_rows_train() -> None:
    """Nothing is set aside that the recipe does not name."""
    assert split(rows(["a", "b"]), part()) == (rows(["a", "b"]), [])


@pytest.mark.parametrize(
    ("words", "hold_out", "said"),
    [
        (["a", "b"], HoldOut(rows=2), "holding out 2 leaves none to train on"),
        (["a"], HoldOut(ratio=0.1), "holding out 1 leaves none to train on"),
        (["a", "b"], HoldOut(rows=0), "holding out 0 leaves none to measure on"),
        (["a", "a", "a"], HoldOut(rows=1), "every row of `notes` is the same"),
    ],
)
def test_splits_that_leave_nothing(words: list[str], hold_out: HoldOut, said: str) -> None:
    """TL312 says how many rows there are and which side is empty."""
    with pytest.raises(RowError, match=said) as problem:
        split(rows(words), part(hold_out=hold_out))
    assert problem.value.diagnostic.code == "TL312"


def test_an_empty_data_set(tmp_path: Any) -> None:
    """TL312: a file without rows is no data set."""
    path = tmp_path / "empty.jsonl"
    path.write_text("\n")
    with pytest.raises(RowError, match="`notes` has no rows") as problem:
        read(part(source=FilesSource(paths=[str(path)])))
    assert problem.value.diagnostic.code == "TL312"


def test_inline_rows_are_numbered() -> None:
    """A mistake in a row of the recipe is told by its number."""
    source = InlineSource(rows=[{"text": "a"}, {"txt": "b"}])
    with pytest.raises(RowError, match="inline row 2 has no column `text`"):
        read(part(source=source))
