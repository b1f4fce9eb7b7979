"""Parts that other packages add: found by their entry points, and only looked for once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LISTED = "from tunelang import registry; print(registry.modules('rules')[-1].__name__)"


@pytest.mark.parametrize("info", ["house_rules-1.0.dist-info", "house_rules-1.0.egg-info"])
def test_an_installed_package_adds_a_part(info: str, tmp_path: Path) -> None:
    """A module named by an entry point of `tunelang.rules` stands behind our own."""
    (tmp_path / "house_rules.py").write_text("RULES = ()\n")
    (tmp_path / info).mkdir()
    metadata = "PKG-INFO" if info.endswith("egg-info") else "METADATA"
    (tmp_path / info / metadata).write_text("Metadata-Version: 2.1\nName: house-rules\n")
    entry = "[tunelang.rules]\nhouse = house_rules\n"
    (tmp_path / info / "entry_points.txt").write_text(entry)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", LISTED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "house_rules\n", done.stderr
    alone = subprocess.run(command, capture_output=True, text=True)
    assert alone.stdout.startswith("tunelang.rules.")
