"""Keys are content: what is made twice is equal to the bit, what differs is never resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import Shop, instructions, part, schedule, training

from tunelang.plan.build import build
from tunelang.plan.keys import key_of
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import resolve
from tunelang.train import checkpoint, optimise

RECIPE = """tune 1
model small = scratch(tokenizer = ["t.txt"], hidden = 32, layers = 2)
data texts = files("t.txt", format = text)
stage it: domain_adaptation {
  model = small
  data = texts
  train = 10 steps
}
"""


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_a_step_that_is_made_again_is_the_same(weights: str, shop: Shop) -> None:
    """P26: the object of a key, thrown away and made once more, has the same bytes in every file.

    Seen to fail with the adapter's start left to chance, for lora.
    """
    step = training("sft", "twice", part("instruct", instructions()), weights=weights)
    shop.run(step)
    first, manifest = shop.weights("twice"), shop.store.manifest("twice")["files"]
    shop.forget("twice")
    shop.run(step)
    assert shop.weights("twice") == first
    assert shop.store.manifest("twice")["files"] == manifest


def test_a_longer_schedule_is_another_step(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """P22: steps are in the key, so a run that is made longer starts anew and not on a schedule
    that had already come down.

    Going on would jump: at update 6 of 10 the rate is on its way to the floor, at 6 of 20 near the
    peak (guard L17). Seen to fail with `steps` left out of `keys._SCHEDULE`.
    """
    short = training(
        "sft", "", part("instruct", instructions()), schedule=schedule(10, save_every=3)
    )
    longer = short.model_copy(update={"schedule": schedule(20, save_every=3)})
    short, longer = (step.model_copy(update={"key": key_of(step)}) for step in (short, longer))
    assert short.key != longer.key
    assert short.schedule and longer.schedule
    assert optimise.rate(longer.schedule, 1.0, 6) - optimise.rate(short.schedule, 1.0, 6) > 0.3

    def stop(*_given: object) -> None:
        raise KeyboardInterrupt

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: (save(*given), stop()))
    with pytest.raises(KeyboardInterrupt):
        shop.run(short)
    monkeypatch.undo()
    assert shop.job(short).resume is not None
    assert shop.job(longer).resume is None


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("it.train=20 steps", False),
        ("it.lr=3e-4", False),
        ("it.batch=16 sequences", False),
        ("it.seed=5", False),
        ("it.micro=1 sequences", True),
        ("it.save_every=1 steps", True),
        ("it.checkpointing=always", True),
    ],
)
def test_what_changes_the_result_changes_the_key(change: str, same: bool, tmp_path: Path) -> None:
    """L17: a changed length, batch or rate is never resumed; how it is carried out may change."""
    (tmp_path / "t.txt").write_text("a cat sat on the mat\n" * 60)
    path = tmp_path / "r.tune"
    path.write_text(RECIPE)
    keys = []
    written, _, value = change.partition("=")
    for sets in ({}, {written: value}):
        resolved = resolve(path, Settings(sets=sets))
        assert resolved.recipe, [each.message for each in resolved.found]
        plan, _ = build(resolved.recipe)
        assert plan
        keys.append(plan.steps[-1].key)
    assert (keys[0] == keys[1]) is same
