"""SIGKILL at any moment: the store never holds half an object, and the end is bit-equal."""

import os
import random
import shutil
import signal
import sqlite3
import time

from tunelang.run.store import Store

KILLS = 20


def sums(store):
    kept = store.keys()
    return {key: store.manifest(key)["files"] for key in kept}


def assert_whole(store):
    kept = store.keys()
    assert {key: store.verify(key) for key in kept} == {key: [] for key in kept}


def paced(chain, pause):
    """The chain, slow enough to be killed in the middle."""
    steps = [step.model_copy(update={"fields": {"pause": pause}}) for step in chain.steps]
    return chain.model_copy(update={"steps": steps})


def finish(process):
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    return told


def test_random_kills_end_in_equal_bytes(drive, chain, tmp_path):
    """Killed 20 times at random, a chain of three ends in the hashes of an undisturbed run."""
    plan = paced(chain, 0.01)
    undisturbed, tried = Store(tmp_path / "undisturbed"), Store(tmp_path / "tried")
    finish(drive(undisturbed.home, plan))
    chance = random.Random(20)
    interrupted = 0
    for _ in range(KILLS):
        process = drive(tried.home, plan)
        time.sleep(chance.uniform(0.1, 1.2))
        if process.poll() is None:
            interrupted += 1
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert_whole(tried)
        if len(tried.keys()) == len(plan.steps):
            shutil.rmtree(tried.home)
    assert interrupted > KILLS / 2
    finish(drive(tried.home, plan))
    assert sums(tried) == sums(undisturbed)


def test_every_durable_operation_can_be_the_last(drive, make, plan, tmp_path):
    """The parent dies before its 1st, 2nd, 3rd... fsync, rename or removal; a rerun mends it."""
    one = plan(make("sft", fields={"steps": 6}))
    whole = Store(tmp_path / "whole")
    finish(drive(whole.home, one))
    for last in range(1, 100):
        store = Store(tmp_path / f"home{last}")
        process = drive(store.home, one, str(last))
        process.communicate(timeout=60)
        assert_whole(store)
        finish(drive(store.home, one))
        assert sums(store) == sums(whole)
        assert not store.work(one.steps[0].key).exists()
        if process.returncode == 0:
            break
    assert last > 5


def test_journal_is_readable_after_a_kill(drive, chain, tmp_path):
    """What was journaled before the kill can be read, and the run has no outcome."""
    store = Store(tmp_path / "home")
    process = drive(store.home, paced(chain, 0.05))
    journal = store.run_folder("chat") / "journal.sqlite"
    wait_for(lambda: journal.exists() and trained(journal) >= 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert trained(journal) >= 3
    database = sqlite3.connect(journal)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    assert database.execute("select outcome from runs").fetchall() == [(None,)]


def test_worker_dies_with_its_parent(drive, chain, tmp_path):
    """A parent killed with -9 leaves no worker behind."""
    store = Store(tmp_path / "home")
    process = drive(store.home, paced(chain, 0.05))
    events = store.work(chain.steps[0].key) / "events.jsonl"
    wait_for(lambda: events.exists() and events.stat().st_size > 300)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.3)
    size = events.stat().st_size
    time.sleep(0.3)
    assert events.stat().st_size == size


def test_ctrl_c_stops_and_goes_on(drive, chain, tmp_path):
    """SIGINT reaches the worker, which saves; exit code 130; the same command goes on there."""
    store = Store(tmp_path / "home")
    process = drive(store.home, paced(chain, 0.05))
    events = store.work(chain.steps[0].key) / "events.jsonl"
    wait_for(lambda: events.exists() and b'"progress"' in events.read_bytes())
    os.kill(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped at step" in told
    assert "of 20" in told
    assert "goes on from step" in finish(drive(store.home, chain))


def test_two_runs_share_one_step(drive, chain, tmp_path):
    """Of two runs at once each step is made by one, and the other reuses it."""
    store = Store(tmp_path / "home")
    plan = paced(chain, 0.03)
    both = [drive(store.home, plan), drive(store.home, plan)]
    told = [finish(process) for process in both]
    made = [line.split().count("run") for text in told for line in text.splitlines()[-1:]]
    assert sum(made) == 3
    assert_whole(store)


def test_a_busy_step_is_waited_for(drive, chain, tmp_path):
    """A run that meets a step under way says who makes it, waits, and goes on."""
    store = Store(tmp_path / "home")
    with store.lock(chain.steps[0].key):
        process = drive(store.home, chain)
        line = process.stdout.readline()
    assert line.startswith(f"waiting for process {os.getpid()} on ")
    assert "`base`" in line
    assert finish(process).splitlines()[-1] == "states run run run"


def trained(journal):
    try:
        return sqlite3.connect(journal).execute("select count(*) from metrics").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def wait_for(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
