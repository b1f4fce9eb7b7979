"""Many recipes are checked by several processes, and nobody can tell by the findings."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from tunelang.cli import check, parallel

TEXT = (Path(__file__).parents[1] / "samples" / "clinic.tune").read_text("utf-8")


@pytest.mark.parametrize("processors", [1, 2])
def test_findings_come_in_order_whoever_found_them(
    processors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal to those of one call a recipe, with their places in the text."""
    used: list[int] = []
    really = parallel._forked
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    monkeypatch.setattr(
        parallel, "_forked", lambda *given: used.append(given[-1]) or really(*given)
    )
    paths = [tmp_path / f"{number}.tune" for number in range(15)]
    for number, path in enumerate(paths):
        path.write_text(TEXT.replace("17", f"{number}, {number}"))
    each = partial(check._findings, profiles=(), sets=(), params=())
    found = parallel.of_each(paths, each, check.WORTH_A_PROCESS)
    assert found == [each(path) for path in paths]
    assert all(found) and used == ([2] if processors == 2 else [])
    assert {one.at.span.source.name for one in found[-1] if one.at} == {str(paths[-1])}
