"""A recipe that cannot be written is said, and stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from tunelang.cli import rewrite
from tunelang.run import store


def test_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1 with one finding; nothing of the file is lost."""
    path = tmp_path / "a.tune"
    path.write_text("tune 1\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_atomic", full)
    with pytest.raises(typer.Exit) as left:
        rewrite.rewrite(path, "tune 1\nlet x = 1\n")
    assert left.value.exit_code == 1
    assert "error[TL013]" in capsys.readouterr().err
    assert path.read_text() == "tune 1\n"
