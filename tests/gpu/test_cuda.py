"""What only a GPU can prove: the tiny recipe on CUDA, and that it goes on bit for bit there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="this machine has no GPU"),
]


# Recipes that name no hardware run on the machine at hand; those for rented GPUs load real models.
SMALL = sorted(
    path for path in (ROOT / "recipes").glob("*.tune") if "hf(" not in path.read_text("utf-8")
)


def run(home: Path, recipe: str = "recipes/tiny.tune") -> dict[str, str]:
    """A recipe on this machine's GPU; the sha256 of every file of weights made."""
    command = [sys.executable, "-m", "tunelang", "run", "--plain", recipe]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "TUNELANG_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for path in (home / "objects").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        for name, file in manifest["files"].items():
            if name.endswith(".safetensors"):
                found[f"{manifest['step']}/{name}"] = file["sha256"]
    return found


def test_four_stages_run_on_the_gpu(tmp_path: Path) -> None:
    """Twice with the same bits: deterministic kernels are what a GPU run gets."""
    first, again = run(tmp_path / "one"), run(tmp_path / "two")
    assert len(first) >= 5
    assert first == again


@pytest.mark.parametrize("recipe", SMALL, ids=lambda path: path.stem)
def test_every_method_runs_on_the_gpu(recipe: Path, tmp_path: Path) -> None:
    """The small recipe of each method goes through, gates included, and was placed on the GPU."""
    run(tmp_path, str(recipe))
    placed = [
        json.loads(path.read_text())["place"]["device"]
        for path in (tmp_path / "objects").glob("*/manifest.json")
    ]
    assert "cuda" in placed
