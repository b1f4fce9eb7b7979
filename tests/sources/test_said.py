"""What a row says, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tunelang.sources import probe, said
from tunelang.sources.parts import DataFormat, DataPart, HoldOut, InlineSource

TALK = {
    "messages": [
        {"role": "system", "content": "abc"},
        {"role": "user", "content": " hi "},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "yes"},
    ]
}


@pytest.mark.parametrize(
    ("values", "sequence", "before", "replies", "asked"),
    [
        (TALK, 13, 7, 2, "hi"),
        ({"prompt": "abcd", "chosen": "ab", "rejected": "abc"}, 7, 4, 0, "abcd"),
        ({"prompt": "abcd", "reply": "ab", "system": "s"}, 7, 5, 0, "abcd"),
        ({"prompt": "ab", "replies": ["abc", "a"], "ranks": [1, 2]}, 5, 2, 0, "ab"),
        ({"prompt": "ab", "choices": ["abc", "a"], "answer": "abc"}, 5, 2, 0, "ab"),
        ({"prompt": "ab"}, 2, 0, 0, "ab"),
        ({"text": "abc"}, 3, 0, 0, ""),
    ],
)
def test_rows(values: dict[str, Any], sequence: int, before: int, replies: int, asked: str) -> None:
    """Longest sequence, what stands before the reply, replies, and the question."""
    assert said.sequence(values) == sequence
    assert said.before_reply(values) == before
    assert said.replies(values) == replies
    assert said.asked(values) == asked


def test_marks_meet_where_rows_do() -> None:
    """Rows set aside in one set and trained in another are found, those of one set never meet."""
    rows: list[dict[str, Any]] = [{"text": f"row {number}"} for number in range(20)]
    form = DataFormat(kind="text", columns={"field": "text"})

    def of(rows: list[dict[str, Any]], held: int) -> probe.Facts:
        source = InlineSource(rows=rows)
        hold_out = HoldOut(rows=held)
        return probe.facts(
            DataPart(name="a", source=source, format=form, fingerprint="", hold_out=hold_out)
        )

    one, other = of(rows, 5), of([*rows[:10], *[{"text": f"new {n}"} for n in range(10)]], 1)
    assert probe.shared(one.held_marks, one.train_marks) == 0
    both = {f"row {n}" for n in range(10)}
    assert 0 < probe.shared(one.train_marks, other.train_marks) <= len(both)
    assert one.columns == ("text",)
