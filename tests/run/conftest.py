"""Plans for the fake worker, and ways to run them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tunelang.plan.ir import Gate, Measure, Place, Plan, Step, StoreModel
from tunelang.run import execute as page
from tunelang.run.outcome import Outcome
from tunelang.run.progress import display
from tunelang.run.store import Store

ROOT = Path(__file__).parents[2]
PLACE = Place(
    device="cpu",
    gpu=None,
    gpus=0,
    threads=1,
    micro=1,
    accumulate=1,
    checkpointing=False,
    sharding="none",
    launcher="local",
)
Make = Callable[..., Step]


@pytest.fixture
def make() -> Make:
    """A step of the fake worker: `make("sft", fields={...}, start=other)`."""

    def step(name: str, *, start: Step | None = None, **given: Any) -> Step:
        shape: dict[str, Any] = {
            "method": "sft",
            "method_version": 1,
            "worker": "none",
            "key": (name.encode().hex() + "0" * 64)[:64],
            "product": "lm",
            "seed": 7,
            "precision": "fp32",
            "place": PLACE,
            "inputs": {"model": StoreModel(key=start.key)} if start else {},
        }
        return Step(name=name, **{**shape, **given})

    return step


@pytest.fixture
def chain(make: Make) -> Plan:
    """Three steps, each from the one before."""
    first = make("base")
    second = make("adapt", start=first)
    return plan_of(first, second, make("sft", start=second))


@pytest.fixture
def plan() -> Callable[..., Plan]:
    return plan_of


def plan_of(*steps: Step) -> Plan:
    return Plan(recipe="chat.tune", profile=None, steps=list(steps))


@pytest.fixture
def gate() -> Callable[..., Gate]:
    def build(text: str, compare: Any, bound: float, *, enforce: bool = True) -> Gate:
        measure = Measure(text=text, metric=text.split("(")[0])
        return Gate(
            measure=measure, compare=compare, bound=bound, enforce=enforce, place="chat.tune:3"
        )

    return build


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def execute(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], tuple[Outcome, str]]:
    """Run a plan in this process; gives the outcome and what was displayed."""
    monkeypatch.setattr(page, "refusals", lambda *_: [])

    def run(plan: Plan) -> tuple[Outcome, str]:
        told = io.StringIO()
        shown = display(Console(file=told, width=200), plain=True)
        settings = page.Settings(module="tests.run.fake_worker")
        outcome = page.execute(plan, store, display=shown, settings=settings)
        return outcome, told.getvalue()

    return run


@pytest.fixture
def drive(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Run a plan in a process group of its own."""

    def start(home: Path, plan: Plan, *more: str) -> subprocess.Popen[str]:
        file = tmp_path / "plan.json"
        file.write_text(plan.model_dump_json())
        command = [sys.executable, "-m", "tests.run.driver", str(home), str(file), *more]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start
