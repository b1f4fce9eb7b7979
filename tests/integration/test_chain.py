"""The whole way of the mission from one file on the CPU, and that going it again costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.run.store import Store

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "chain.tune"
LIMIT = 400.0  # seconds; 45 of processor time


def run(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tunelang", "run", str(RECIPE), "--plain"],
        cwd=ROOT,
        env={**os.environ, "TUNELANG_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_chain_runs_from_one_file(tmp_path: Path) -> None:
    """Ten steps; the ranking stage learns from the replies that the judge scored, the exported
    weights are those of the merged policy, and a second run reuses every step."""
    run(tmp_path)
    store = Store(tmp_path)
    keys = store.keys()
    made = {store.manifest(key)["step"]: key for key in keys}
    assert {"answers", "ranked", "policy", "whole", "folder"} <= set(made)
    ranked = json.loads((store.object(made["ranked"]) / "step.json").read_text("utf-8"))
    (part,) = ranked["data"]["parts"]
    assert part["source"] == {"kind": "store", "key": made["answers"]}
    whole = store.object(made["whole"]) / "model" / "model.safetensors"
    exported = store.object(made["folder"]) / "export" / "model.safetensors"
    assert whole.read_bytes() == exported.read_bytes()
    assert run(tmp_path).count("reused") >= len(made)
