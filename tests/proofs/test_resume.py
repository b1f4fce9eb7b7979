"""P21: a step that is killed and started again ends in the very bits it would have ended in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from killed import Killed, kill_at, resumes
from workshop import Shop, instructions, part, preferences, schedule, texts, training

from tunelang.plan.ir import Mixture, Step
from tunelang.sources.parts import Wording
from tunelang.train import checkpoint, loop

KILLED_AT = 8  # between the checkpoints of 6 and 9
CASES: dict[str, dict[str, Any]] = {
    "lora with dropout": {"adapter": {"dropout": 0.1}},
    "full": {"weights": "full", "lr": 1e-3},
    "bf16": {"precision": "bf16"},
    "packed": {"fields": {"packing": True}},
}


def steps_of(name: str, key: str) -> Step:
    plan = schedule(12, save_every=3, eval_every=5)
    if name == "reward":
        data = part("preference", preferences(60))
        return training("reward_modeling", key, data, schedule=plan, fields={"center": 0.01})
    if name == "domain":
        data = part("text", texts())
        return training("domain_adaptation", key, data, schedule=plan, fields={"packing": True})
    if name == "replay and new tokens":
        own, general = part("text", texts()), part("text", texts(60)[::-1], name="general")
        parts = [own.model_copy(update={"weight": 0.8}), general.model_copy(update={"weight": 0.2})]
        fields = {"replay": "data", "new_tokens": ["park", "sun"]}
        adapter = {"targets": ["q_proj", "v_proj", "embed_tokens", "lm_head"]}
        return training(
            "domain_adaptation",
            key,
            Mixture(parts=parts),
            schedule=plan,
            fields=fields,
            adapter=adapter,
            general=general,
        )
    rows = instructions()
    if name == "wordings and weights":
        rows = [{**row, "weight": 1 + number % 3} for number, row in enumerate(rows)]
        wording = Wording(templates=["{prompt}", "please {prompt}"], seed=1)
        data = part("instruct", rows, wording=wording)
        return training("instruction_tuning", key, data, schedule=plan, fields={"template": None})
    return training("sft", key, part("instruct", rows), schedule=plan, **CASES[name])


OTHERS = ("reward", "domain", "replay and new tokens", "wordings and weights")


@pytest.mark.parametrize("name", [*CASES, *OTHERS])
def test_killed_and_resumed_equals_never_killed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Weights, metrics and loss curve are equal bit for bit."""
    resumes(shop, monkeypatch, lambda key: steps_of(name, key), KILLED_AT, 6)


def test_a_signal_saves_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM between two updates writes a checkpoint there, then the run ends."""
    step = steps_of("full", "asked")
    after = loop.after_update

    def asked(run: loop.Training) -> None:
        if run.progress.at == 4:
            run.job.stop.set()
        after(run)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "after_update", asked)
        shop.run(step)
    found = shop.job(step).resume
    assert found is not None
    assert found.at == 4


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


FILES = [
    "weights.safetensors",
    "optimizer.safetensors",
    "random.safetensors",
    "state.json",
    "COMPLETE.json",
]


@pytest.mark.parametrize("damage", [missing, truncated, flipped])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_set_aside(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, file: str, damage: Any
) -> None:
    """Whatever is wrong with the newest one, the older one is used and the user is told."""
    step = steps_of("lora with dropout", "damaged")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_at(patched, KILLED_AT)
        shop.run(step)
    folder = shop.store.work("damaged") / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["000003", "000006"]
    damage(folder / "000006" / file)
    found = shop.job(step).resume
    assert found is not None
    assert found.at == 3
    assert list(folder.glob("bad-000006-*"))
    assert any("damaged" in text for text in shop.said("damaged", "warning"))


def test_an_empty_checkpoint_folder_is_set_aside(shop: Shop) -> None:
    """A kill right after mkdir leaves nothing to trust, and the step begins anew."""
    step = steps_of("full", "empty")
    (shop.store.work("empty") / "checkpoints" / "000003").mkdir(parents=True)
    assert shop.job(step).resume is None
    assert any("COMPLETE.json is missing" in text for text in shop.said("empty", "warning"))


def test_a_kill_while_saving_leaves_no_checkpoint(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its files are complete a checkpoint has no name that anyone looks for."""
    step = steps_of("full", "saving")

    def dying(_aside: Path) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(checkpoint, "complete", dying)
        shop.run(step)
    assert shop.job(step).resume is None
    assert shop.run(step)["after"]
