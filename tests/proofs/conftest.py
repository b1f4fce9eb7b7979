"""One tiny model for all proofs of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import workshop


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workshop.one_thread()
    made = tmp_path_factory.mktemp("home")
    workshop.open_shop(made)
    return made


@pytest.fixture
def shop(home: Path) -> Iterator[workshop.Shop]:
    """The shared store; objects a proof makes are forgotten after it."""
    made = workshop.Shop(home)
    before = set(made.store.keys())
    yield made
    made.forget(*(set(made.store.keys()) - before))
    work = home / "work"
    made.forget(*(path.name for path in work.glob("*") if path.name != workshop.TINY))
