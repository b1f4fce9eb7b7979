"""The promise of the run floor, on real training: kill -9 at any moment changes no bit."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tunelang.run.events import Tail
from tunelang.run.store import Store

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "tiny.tune"
KILLS = 10
LIMIT = 200.0  # seconds one undisturbed run may take
LONGEST = 8.0  # seconds before a kill; importing torch takes three of them


def start(home):
    """The real command in a process group of its own, quiet on one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "tunelang", "run", str(RECIPE), "--plain"],
        cwd=ROOT,
        env={**os.environ, "TUNELANG_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(home):
    """Run to the end; what was told."""
    process = start(home)
    told, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, told
    return told


def weights(store):
    """SHA-256 of every weight file of every object."""
    kept = store.keys()
    return {
        (key, name): file["sha256"]
        for key in kept
        for name, file in store.manifest(key)["files"].items()
        if name.endswith(".safetensors")
    }


def checkpoints(store):
    """How many checkpoints the steps under way have told of."""
    files = store.home.glob("work/*/events.jsonl")
    return sum(event["event"] == "checkpoint" for file in files for event in Tail(file).read())


def wait(process, store, chance, for_checkpoint):
    """Up to a random moment; every other time, to shortly after a new checkpoint."""
    before, end = checkpoints(store), time.monotonic() + LIMIT  # a busy machine imports for long
    if not for_checkpoint:
        end = time.monotonic() + chance.uniform(0.1, LONGEST)
    while process.poll() is None and time.monotonic() < end:
        if for_checkpoint and checkpoints(store) > before:
            time.sleep(chance.uniform(0.0, 0.5))
            return
        time.sleep(0.05)


def resumed(store):
    """How often a worker went on from a checkpoint, by the journal."""
    journal = sqlite3.connect(store.run_folder("tiny") / "journal.sqlite")
    rows = journal.execute("select body from events where event = 'start'")
    return sum(json.loads(body)["resumed_at"] > 0 for (body,) in rows)


def test_killed_runs_end_in_the_same_weights(tmp_path):
    """Ten SIGKILLs of the whole process group, and the last bit of every weight file is equal."""
    undisturbed, tried = Store(tmp_path / "undisturbed"), Store(tmp_path / "tried")
    finish(undisturbed.home)
    chance = random.Random(10)
    killed = number = went_on = 0
    while killed < KILLS:
        number += 1
        process = start(tried.home)
        wait(process, tried, chance, for_checkpoint=number % 2 == 1)
        if process.poll() is None:
            killed += 1
            os.killpg(process.pid, signal.SIGKILL)
        told, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), told
        kept = tried.keys()
        assert {key: tried.verify(key) for key in kept} == {key: [] for key in kept}
        if process.returncode == 0:
            assert weights(tried) == weights(undisturbed)
            went_on += resumed(tried)
            shutil.rmtree(tried.home)
    finish(tried.home)
    assert went_on + resumed(tried) >= 1
    assert weights(undisturbed)
    assert weights(tried) == weights(undisturbed)
