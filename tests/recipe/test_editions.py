"""A file of an older edition is brought to the newest, step by step."""

from __future__ import annotations

import pytest

from tunelang.source import Source
from tunelang.syntax import editions


@pytest.fixture(autouse=True)
def two_editions_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if editions 2 and 3 had been made, each renaming one word."""

    def second(source: Source) -> str:
        return source.text.replace("tune 1", "tune 2").replace("old", "newer")

    def third(source: Source) -> str:
        return source.text.replace("tune 2", "tune 3").replace("newer", "newest")

    monkeypatch.setattr(editions, "MIGRATIONS", {1: second, 2: third})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tune 1\nlet old = 1\n", "tune 3\nlet newest = 1\n"),
        ("tune 2\nlet newer = 1\n", "tune 3\nlet newest = 1\n"),
        ("tune 3\nlet old = 1\n", "tune 3\nlet old = 1\n"),
        ("let old = 1\n", "let old = 1\n"),
        ("tune 9\nlet old = 1\n", "tune 9\nlet old = 1\n"),
    ],
)
def test_each_step_is_taken(text: str, expected: str) -> None:
    """From the file's own edition on; a file that names none, or a later one, stays."""
    assert editions.migrated(Source("a.tune", text), to=3).text == expected
