"""Machines that share a step meet in the store, and none goes by what an earlier attempt left."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tunelang.errors import UserError
from tunelang.launch.rendezvous import Node
from tunelang.launch.scheduler import RETRY
from tunelang.run import nodes
from tunelang.run.interrupt import Interrupt
from tunelang.run.state import Settings

FIRST, SECOND = Node(0, 2, "127.0.0.1", 29400), Node(1, 2, "127.0.0.1", 29400)


@pytest.fixture
def step(make):
    one = make("chat")
    place = {"nodes": 2, "processes": 2, "sharding": "ddp", "launcher": "torchrun"}
    return one.model_copy(update={"place": one.place.model_copy(update=place)})


@pytest.fixture
def second(step, store):
    """Machine 1 in a thread: its answer when it has one, and a way to end it."""
    interrupt, found = Interrupt(), []

    def wait():
        found.append(nodes._called(SECOND, step, store, interrupt, lambda _: None))

    thread = threading.Thread(target=wait)
    thread.start()
    yield lambda patience: (thread.join(patience), found)[1]
    interrupt.count = 1
    thread.join()


def test_both_start_together(step, store, second):
    """The first returns when the second has answered, and the second when the first has seen it."""
    nodes.gather(FIRST, store.work(step.key), Interrupt(), lambda _: None)
    assert second(10.0) == [True]


def test_nothing_of_an_earlier_attempt_counts(step, store, second):
    """A call that was for an earlier process is not followed, and an old answer is none."""
    folder = store.work(step.key) / "nodes"
    folder.mkdir(parents=True)
    (folder / "node-1.json").write_text(json.dumps({"call": "old", "token": "old"}))
    (folder / "call.json").write_text(json.dumps({"call": "old", "go": {"1": "old"}}))
    assert second(1.0) == []
    nodes.gather(FIRST, store.work(step.key), Interrupt(), lambda _: None)
    assert json.loads((folder / "call.json").read_text())["go"]["1"] != "old"
    assert second(10.0) == [True]


def test_a_step_that_is_done_needs_nobody(step, store, second):
    """The second machine goes on when the object is in the store, without any call."""
    store.object(step.key).mkdir(parents=True)
    (store.object(step.key) / "manifest.json").write_text("{}")
    assert second(10.0) == [False]


def test_a_store_that_is_not_shared_is_told(step, tmp_path, monkeypatch):
    """TL728 names the machines that did not answer, and what all have to share."""
    monkeypatch.setattr(nodes, "PATIENCE", 0.3)
    said = []
    with pytest.raises(UserError) as told:
        nodes.gather(Node(0, 4, "127.0.0.1", 1), tmp_path, Interrupt(), said.append)
    assert told.value.diagnostic.code == "TL728"
    assert "nodes 1, 2, 3 did not answer" in told.value.diagnostic.message
    assert "TUNELANG_HOME" in told.value.diagnostic.help
    assert said == ["waiting for nodes 1, 2, 3"]


def test_an_answer_to_an_earlier_call_is_none(tmp_path, monkeypatch):
    """A machine that answered the attempt before, and is not there now, is missed."""
    monkeypatch.setattr(nodes, "PATIENCE", 0.3)
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "node-1.json").write_text(json.dumps({"call": "old", "token": "old"}))
    with pytest.raises(UserError):
        nodes.gather(FIRST, tmp_path, Interrupt(), lambda _: None)


def test_ctrl_c_ends_the_waiting(tmp_path):
    interrupt = Interrupt()
    interrupt.count = 1
    begun = time.monotonic()
    nodes.gather(FIRST, tmp_path, interrupt, lambda _: None)
    assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize(("only", "code"), [(None, 9), ("chat", RETRY)])
def test_a_job_is_judged_by_its_first_machine(step, store, plan, monkeypatch, only, code):
    """By hand a machine tells its own failure; in a job it asks for another attempt, unless the
    scheduler ends it meanwhile."""
    monkeypatch.setattr(nodes, "follow", lambda *_: 9)
    monkeypatch.setattr(nodes, "AFTER", 0.1)
    settings = Settings(node=SECOND, only=only)
    assert nodes.take_part(plan(step), store, settings, lambda _: None) == code
    monkeypatch.setattr(nodes, "_ended", lambda _: True)
    assert nodes.take_part(plan(step), store, settings, lambda _: None) == (code if not only else 0)
