"""`tunelang fmt` on folders: every file, in order, by several processes where that pays."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from tunelang.cli import fmt, parallel
from tunelang.source import Source
from tunelang.syntax.format import format

UGLY = (Path(__file__).parents[1] / "samples" / "clinic.tune").read_text("utf-8").replace("=", " =")
UNREADABLE = b"tune 1\n\xff\n"


def folder_of(root: Path, count: int) -> list[Path]:
    paths = [root / f"{number:03}.tune" for number in range(count)]
    for path in paths:
        path.write_text(UGLY)
    paths[1].write_bytes(UNREADABLE)
    paths[2].write_text(format(Source("x", UGLY)))
    return paths


@pytest.mark.parametrize(("count", "processes"), [(4, None), (80, 2)])
def test_one_result_whatever_the_number_of_processes(
    count: int, processes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few files are formatted at once, many by two processes; findings and files are the same."""
    used: list[int] = []
    really = parallel._forked
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(
        parallel, "_forked", lambda *given: used.append(given[-1]) or really(*given)
    )
    paths = folder_of(tmp_path, count)
    done = parallel.of_each(
        paths, partial(fmt._formatted, write=True, show=True), fmt.WORTH_A_PROCESS
    )
    assert used == ([processes] if processes else [])
    assert [one.path for one in done] == paths
    assert [one.path for one in done if one.problems] == [paths[1]]
    assert [one.path for one in done if not one.changed] == paths[1:3]
    assert paths[1].read_bytes() == UNREADABLE
    expected = format(Source("x", UGLY))
    assert {path.read_text() for path in [*paths[:1], *paths[2:]]} == {expected}
    assert done[0].diff.startswith(f"--- {paths[0]}\n+++ {paths[0]} (formatted)\n")
