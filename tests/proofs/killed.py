"""A run that is killed between two updates and started again, against one that never was."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from workshop import Shop

from tunelang.plan.ir import Step
from tunelang.train import loop


class Killed(Exception):
    """What stops a run in the middle."""


def kill_at(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Stop as SIGKILL would: no more checkpoint, nothing closed."""
    after = loop.after_update

    def dying(run: loop.Training) -> None:
        after(run)
        if run.progress.at == at:
            raise Killed

    monkeypatch.setattr(loop, "after_update", dying)


def resumes(
    shop: Shop, patch: pytest.MonkeyPatch, make: Callable[[str], Step], killed_at: int, kept: int
) -> None:
    """Killed after update `killed_at` and started again from checkpoint `kept`, a step has the
    same weights, metrics and loss curve, bit for bit."""
    straight, broken = make("straight"), make("broken")
    expected = shop.run(straight)
    with patch.context() as patched, pytest.raises(Killed):
        kill_at(patched, killed_at)
        shop.run(broken)
    found = shop.job(broken).resume
    assert found is not None
    assert found.at == kept
    assert shop.run(broken) == expected
    assert shop.weights("broken") == shop.weights("straight")
    curves = [
        json.loads((shop.store.object(key) / "metrics.json").read_text("utf-8"))["series"]
        for key in ("straight", "broken")
    ]
    assert curves[0] == curves[1]
