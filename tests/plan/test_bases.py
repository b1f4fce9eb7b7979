"""Where a base model's sizes come from: its config.json wherever one is, else the catalogue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunelang.catalog import models
from tunelang.plan import findings
from tunelang.plan.ir import Step
from tunelang.recipe.hub import cache
from tunelang.rules.pages import CHECKOUT
from tunelang.sources import hub_configs

GROUND = (CHECKOUT / "ground.tune").read_text()
SMALL = "Qwen/Qwen2.5-0.5B"
PINNED = "060db64" + "0" * 33  # ground.tune pins its first seven digits
OTHER = "1" * 40
STAGE = """stage domain: domain_adaptation {
  model = MODEL
  data = texts
  train = 1000 steps
  on = pod
}
"""


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    return folder


def keep(hub: Path, commit: str, ref: str = "", **changed: Any) -> dict[str, Any]:
    """Put a config.json of the small model into the cache."""
    config = {**(models.config(SMALL) or {}), **changed}
    folder = hub / f"models--{SMALL.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    if ref:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / ref).write_text(commit)
    return config


def planned(folder: Path, model: str = "small") -> tuple[Step, dict[str, str]]:
    """The one step of a recipe, and what was found by code."""
    path = folder / "r.tune"
    path.write_text(GROUND + STAGE.replace("MODEL", model))
    found = findings.of_file(path)
    assert found.plan, [each.message for each in found.found]
    return found.plan.steps[-1], {each.code: each.message for each in found.found}


def origin(step: Step) -> str:
    return next(line for line in step.place.reasons if line.startswith("sizes of"))


def test_the_catalogue_is_used_where_nothing_is_here(tmp_path: Path) -> None:
    """And the plan says so."""
    step, found = planned(tmp_path)
    assert origin(step) == f"sizes of `small` ({SMALL}) from the catalogue"
    assert step.estimate and step.estimate.parameters == 494_032_768
    assert "TL428" not in found


def test_a_cached_config_wins_over_the_catalogue(tmp_path: Path, hub: Path) -> None:
    """The file's sizes are planned with, and the difference is told."""
    keep(hub, PINNED, num_hidden_layers=12)
    step, found = planned(tmp_path)
    place = "from config.json in the hub's cache, commit 060db640"
    assert origin(step).endswith(f"{place}, which is not what the catalogue has (TL428)")
    assert step.estimate and step.estimate.parameters < 400_000_000
    assert "layers is 12, not 24" in found["TL428"]


def test_a_cached_config_that_agrees_is_not_told_of(tmp_path: Path, hub: Path) -> None:
    """Only where it was read is."""
    keep(hub, PINNED)
    step, found = planned(tmp_path)
    assert origin(step).endswith("commit 060db640") and "TL428" not in found


def test_the_key_is_the_same_wherever_sizes_come_from(tmp_path: Path, hub: Path) -> None:
    """What is predicted changes, what is trained does not."""
    before, _ = planned(tmp_path)
    keep(hub, PINNED, num_hidden_layers=12)
    assert planned(tmp_path)[0].key == before.key


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ([(OTHER, "main"), (PINNED, "")], PINNED),  # the pinned one first
        ([(OTHER, "main")], OTHER),  # then the newest
        ([(OTHER, "")], OTHER),  # then any
        ([], None),
    ],
)
def test_the_pinned_revision_comes_first(
    hub: Path, kept: list[tuple[str, str]], found: str | None
) -> None:
    """Another revision is used where that one was not downloaded."""
    for commit, ref in kept:
        keep(hub, commit, ref)
    cached = hub_configs.find(SMALL, "060db64")
    assert (cached.commit if cached else None) == found


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_config_is_none(hub: Path, text: str) -> None:
    """The next place is asked; the plan does not break."""
    keep(hub, PINNED)
    path = hub / f"models--{SMALL.replace('/', '--')}" / "snapshots" / PINNED / "config.json"
    path.write_text(text)
    assert hub_configs.find(SMALL, PINNED) is None


def test_a_model_that_the_catalogue_lacks_is_read_from_the_cache(tmp_path: Path, hub: Path) -> None:
    """Any repository of a family that is counted, not only those we know."""
    config = models.config("google/gemma-3-1b-pt")
    folder = hub / "models--acme--own" / "snapshots" / OTHER
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    path = tmp_path / "r.tune"
    own = f'model own = hf("acme/own", revision = "{OTHER[:7]}", licence = "gemma")\n'
    path.write_text(GROUND + own + STAGE.replace("MODEL", "own"))
    plan = findings.of_file(path).plan
    assert plan and plan.steps[-1].estimate
    assert plan.steps[-1].estimate.parameters == 999_885_952


def test_a_config_by_path_is_read_there(tmp_path: Path) -> None:
    """A folder's own config.json, whatever the catalogue has of the model's name."""
    folder = tmp_path / "Qwen2.5-0.5B"
    folder.mkdir()
    config = {**(models.config(SMALL) or {}), "num_hidden_layers": 12}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_text("not read")
    path = tmp_path / "r.tune"
    own = 'model own = files("Qwen2.5-0.5B", licence = "apache-2.0")\n'
    path.write_text(GROUND + own + STAGE.replace("MODEL", "own"))
    plan = findings.of_file(path).plan
    assert plan
    assert origin(plan.steps[-1]) == "sizes of `own` (Qwen2.5-0.5B) from its config.json"


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b"}, "/b"),
        ({"HF_HOME": "/c"}, "/c/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/a"),
        ({"HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/c/hub"),
        ({"HOME": "/e"}, "/e/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_library_has_it(
    variables: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same variables lead us and huggingface_hub to the same folder."""
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(cache()) == place
    pytest.importorskip("huggingface_hub")
    command = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    theirs = subprocess.run(
        [sys.executable, "-c", command], env=dict(os.environ), capture_output=True, text=True
    )
    assert theirs.stdout.strip() == place, theirs.stderr
