"""The worker as a program: exit codes, its first and last events, signals."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from workshop import Shop, instructions, part, schedule, training

from tunelang.plan.ir import Step
from tunelang.train import __main__ as worker
from tunelang.train import sft
from tunelang.train.job import Job


@pytest.fixture(autouse=True)
def _restore_signals(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The worker takes over signals and hides bitsandbytes; tests give both back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(worker, "needs_bitsandbytes", lambda *_: True)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def start(shop: Shop, step: Step, monkeypatch: pytest.MonkeyPatch, where: Path) -> int:
    path = where / "step.json"
    path.write_text(step.model_dump_json())
    monkeypatch.setattr(sys, "argv", ["train", str(path), "--home", str(shop.home)])
    return worker.main()


def test_a_step_ends_with_exit_0_and_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`start` tells versions and threads, `done` tells metrics, memory and seconds."""
    step = training("sft", "whole", part("instruct", instructions()), schedule=schedule(2))
    assert start(shop, step, monkeypatch, tmp_path) == 0
    events = shop.events("whole")
    first = next(event for event in events if event["event"] == "start")
    assert first["threads"] == 1 and first["resumed_at"] == 0
    assert first["stack"]["torch"]
    assert events[-1]["event"] == "done"
    assert events[-1]["peak_bytes"] > 0
    assert set(events[-1]["metrics"]) == {"before", "after"}


def test_a_users_mistake_ends_with_exit_1_and_failed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The diagnostic crosses to the parent as an event; no traceback."""
    rows = [{"prompt": f"say {at} " + "cat " * 60, "reply": "cat"} for at in range(20)]
    step = training("sft", "mistake", part("instruct", rows), length=16)
    assert start(shop, step, monkeypatch, tmp_path) == 1
    last = shop.events("mistake")[-1]
    assert (last["event"], last["code"], last["name"]) == ("failed", "TL310", "cut-before-answer")
    assert last["help"] == "raise length"


def test_a_signal_before_training_ends_at_once_with_130(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody polls while a model loads, so SIGTERM does not wait."""

    def loading(_step: Step, _job: Job) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(sft, "run", loading)
    step = training("sft", "stopped", part("instruct", instructions()))
    assert start(shop, step, monkeypatch, tmp_path) == 130


def test_a_signal_while_training_saves_and_a_restart_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SIGTERM in an update: that update ends, a checkpoint is written, exit 130, then resumed."""
    step = training("sft", "paused", part("instruct", instructions()))
    whole = training("sft", "straight", part("instruct", instructions()))
    shop.run(whole)
    from tunelang.train import loop

    backward, calls = loop.backward, []

    def signalled(*given: Any) -> float:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return backward(*given)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "backward", signalled)
        assert start(shop, step, patched, tmp_path) == 130
    assert start(shop, step, monkeypatch, tmp_path) == 0
    starts = [event["resumed_at"] for event in shop.events("paused") if event["event"] == "start"]
    assert starts == [0, 3]
    product = shop.store.work("paused") / "product" / "adapter" / "adapter_model.safetensors"
    assert product.read_bytes() == shop.weights("straight")["adapter/adapter_model.safetensors"]
