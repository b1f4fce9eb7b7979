"""`why`: the ladder of a value, and the reason a stage runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunelang.plan.findings import of_file
from tunelang.plan.ir import Step
from tunelang.recipe.overrides import Settings
from tunelang.run.store import Store, write_json

TEXT = """tune 1
param seed: int = 17
let window = 512 tokens
model base = hf("acme/base", revision = "d149729")
data talks = hf("acme/talks", revision = "0aa91c3", format = chat, rows = 400 rows, hold_out = 5%)
data more = hf("acme/more", revision = "0aa91c4", format = chat, rows = 400 rows, hold_out = 5%)
mix both { talks = 75%, more = 25% }
defaults stage { seed = seed, length = window, train = 5 steps }
stage chat: instruction_tuning {
  model = base
  data = both
  weights = lora(16)
  schedule = linear(warmup = 2 steps)
  gate { loss < 3 }
}
stage wide extends chat {
  model = chat
  weights.rank = 64
}
profile tiny {
  window = 128 tokens
  every stage { train = 20 steps }
  wide { lr = 2e-4 }
  every gate { enforce = false }
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path / "home"))
    (tmp_path / "r.tune").write_text(TEXT)
    return tmp_path


def why(folder: Path, *words: str) -> list[str]:
    """The lines printed, their columns one space apart."""
    done = subprocess.run(
        [sys.executable, "-m", "tunelang", "why", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ,
    )
    assert (done.returncode == 1) == ("error[" in done.stderr), done.stderr
    return [" ".join(line.split()) for line in (done.stdout or done.stderr).splitlines()]


LADDERS = {
    "wide.lr --profile tiny": [
        "wide.lr = 0.0002",
        "2e-4 r.tune:23 in profile tiny <- used",
        "2e-5 method instruction_tuning default",
    ],
    "wide.lr --profile tiny --set wide.lr=1e-3": [
        "wide.lr = 0.001",
        "1e-3 --set on the command line <- used",
        "2e-4 r.tune:23 in profile tiny",
        "2e-5 method instruction_tuning default",
    ],
    "wide.weights.rank": [
        "wide.weights.rank = 64",
        "64 r.tune:18 in stage wide <- used",
        "16 r.tune:12 in chat, which it extends",
        "16 lora default",
    ],
    "chat.length --profile tiny": [
        "chat.length = 128 tokens",
        "window r.tune:8 in defaults stage <- used",
        "1024 tokens method instruction_tuning default",
        "window = 128 tokens",
        "128 tokens r.tune:21 in the profile <- used",
        "512 tokens r.tune:3 in let window",
    ],
    "seed --param seed=3": [
        "seed = 3",
        "3 --param on the command line <- used",
        "17 r.tune:2 in param seed",
    ],
    "both.talks": ["both.talks = 75%", "75% r.tune:7 in mix both <- used"],
    "chat.schedule.warmup": [
        "chat.schedule.warmup = 2 steps",
        "2 steps r.tune:13 in stage chat <- used",
        "3% linear default",
    ],
    "chat.optimizer": [
        "chat.optimizer = adamw",
        "adamw method instruction_tuning default <- used",
    ],
    "chat.template": ["chat.template = nothing", "no layer sets it, and it has no default"],
    "chat.gate.enforce --profile tiny": [
        "chat.gate.enforce = false",
        "false r.tune:24 in profile tiny, every gate <- used",
        "true kind gate default",
    ],
}


@pytest.mark.parametrize("words", LADDERS)
def test_ladders(folder: Path, words: str) -> None:
    """Highest layer first, the default last, one rung marked."""
    what, *options = words.split()
    assert why(folder, what, "r.tune", *options) == LADDERS[words]


def test_a_block_is_all_its_fields(folder: Path) -> None:
    heads = [line for line in why(folder, "talks") if " = " in line and "<-" not in line]
    assert {line.split()[0] for line in heads} >= {"talks.from", "talks.rows", "talks.hold_out"}


@pytest.mark.parametrize(
    ("path", "meant"),
    [("chat.lrr", "chat.lr"), ("chta.lr", "chat.lr"), ("wndow", "window"), ("chat.lr.x", "")],
)
def test_a_path_that_is_nothing(folder: Path, path: str, meant: str) -> None:
    lines = why(folder, path)
    assert f"error[TL101] unknown-name: `{path}` is no value of this recipe" in lines
    assert not meant or f"= help: did you mean `{meant}`?" in lines


def test_a_recipe_with_mistakes_says_them(folder: Path) -> None:
    (folder / "r.tune").write_text(TEXT.replace("lora(16)", "lora(16"))
    assert any(line.startswith("error[TL0") for line in why(folder, "chat.lr"))


def step_of(folder: Path, name: str, **sets: str) -> Step:
    plan = of_file(folder / "r.tune", Settings(sets=sets)).plan
    assert plan
    return next(each for each in plan.steps if each.name == name)


def store(folder: Path, step: Step) -> None:
    product = folder / "product"
    product.mkdir()
    write_json(product / "step.json", step.model_dump(mode="json"))
    Store(folder / "home").publish(step.key, product, {"step": step.name, "method": step.method})


def test_why_a_stage_runs(folder: Path) -> None:
    """Nothing stored; then what differs from the nearest; then reused."""
    (line,) = why(folder, "chat")
    assert line == "`chat` will run: no `instruction_tuning` stage is in the store yet"
    store(folder, step_of(folder, "chat", **{"chat.lr": "1e-3", "seed": "3"}))
    store(folder, step_of(folder, "chat", **{"chat.lr": "5e-5"}))
    lines = why(folder, "chat")
    assert lines[0] == "`chat` will run: nothing in the store was made with these values"
    assert lines[1].startswith("the nearest is `chat` of ")
    assert lines[2:] == ["lr 5e-05 → 2e-05"]
    store(folder, step_of(folder, "chat"))
    lines = why(folder, "chat")
    assert lines[0].startswith("`chat` is reused: ")
    assert lines[1].endswith(step_of(folder, "chat").key)


def test_a_stage_above_that_changed(folder: Path) -> None:
    """An input that is another one, and the stage to ask about next."""
    store(folder, step_of(folder, "wide"))
    lines = why(folder, "wide", "--set", "chat.lr=1e-4")
    assert any(line.startswith("input model ") for line in lines)
    assert lines[-1] == "`chat`, which it starts from, will run too: tunelang why chat"


def test_a_damaged_object_is_passed_over(folder: Path) -> None:
    stored = step_of(folder, "chat", **{"chat.lr": "5e-5"})
    store(folder, stored)
    (folder / "home" / "objects" / stored.key / "step.json").write_text("{}")
    assert "no `instruction_tuning` stage is in the store yet" in why(folder, "chat")[0]


def test_one_recipe_here_needs_no_name(folder: Path) -> None:
    (folder / "other.tune").write_text(TEXT)
    assert "this folder has 2 recipes" in " ".join(why(folder, "chat.lr"))
