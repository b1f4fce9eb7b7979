"""DoReMi finds shares as its paper says: Algorithm 1 by hand, and on tasks whose answer is known.

Seen to fail: the excess not clipped (0.5 for 1.0); 1 for alpha in the robust gradient; 1 + eta e
for exp(eta e) (0.545 for 0.550); no reference taken off (0.41 to the skill, not 0.55);
the found shares read as shares of rows (0.17 for 0.30); a search that is made again after a kill.
"""

from __future__ import annotations

import json
import math
import random
from itertools import islice
from typing import Any

import pytest
import torch
from workshop import BAD, GOOD, Shop, part, place, schedule, training

from tunelang.plan.ir import HoldOut, Mixture, Step
from tunelang.train import doremi, loop, material, mix, multi_task, stage, trainable
from tunelang.train.doremi import Search
from tunelang.train.forward import Row

DOREMI = {"kind": "doremi", "train": 12, "eta": 1.0, "smoothing": 1e-4}


def test_the_update_by_hand() -> None:
    """alpha (1/2, 1/2), excess (0.2, 0): e^0.2 / (e^0.2 + 1) = 0.549834, then 1e-4 towards 1/2."""
    grown = math.exp(0.2) / (math.exp(0.2) + 1)
    made = doremi.reweighted([0.5, 0.5], [0.2, 0.0], eta=1.0, smoothing=1e-4)
    assert made == pytest.approx(
        [0.9999 * grown + 0.00005, 0.9999 * (1 - grown) + 0.00005], abs=1e-12
    )
    assert made[0] == pytest.approx(0.549829, abs=1e-6)
    assert sum(made) == pytest.approx(1.0, abs=1e-12)


def test_no_excess_leaves_the_weights_and_smoothing_keeps_each_alive() -> None:
    """Equal excess changes nothing; a share never falls under smoothing / k; eta scales excess."""
    assert doremi.reweighted([0.7, 0.3], [0.4, 0.4], 1.0, 0.0) == pytest.approx([0.7, 0.3])
    starved = [0.5, 0.5]
    for _ in range(200):
        starved = doremi.reweighted(starved, [1.0, 0.0], 1.0, 1e-4)
    assert starved[1] >= 1e-4 / 2
    twice = doremi.reweighted([0.5, 0.5], [0.2, 0.0], 2.0, 0.0)
    assert twice == pytest.approx(doremi.reweighted([0.5, 0.5], [0.4, 0.0], 1.0, 0.0))


def test_the_excess_is_clipped_at_every_token_then_averaged() -> None:
    """Task 0: max(1 - 2, 0) and max(3 - 1, 0) average 1. Task 1: 0 and 1/2. Task 2 is not here."""
    proxy, reference = torch.tensor([1.0, 3.0, 2.0, 0.5]), torch.tensor([2.0, 1.0, 2.0, 0.0])
    task = torch.tensor([0, 0, 1, 1])
    assert doremi.excess_of(proxy, reference, task, 3) == pytest.approx([1.0, 0.25, 0.0])


def test_shares_are_the_mean_over_the_updates() -> None:
    assert doremi.mean([[0.5, 0.5], [0.7, 0.3]]) == pytest.approx([0.6, 0.4])


def noisy(count: int = 60) -> list[dict[str, Any]]:
    """Replies that no prompt foretells: three random words."""
    chance = random.Random(5)
    return [
        {"prompt": f"guess {at}", "reply": " ".join(chance.choice(BAD) for _ in range(3))}
        for at in range(count)
    ]


def learnable(count: int = 60) -> list[dict[str, Any]]:
    """One reply to every prompt, and all of it to be learnt."""
    chance = random.Random(6)
    said = " ".join(GOOD * 2)
    return [{"prompt": f"say {chance.random():.4f}", "reply": said} for _ in range(count)]


def tasks(**fields: Any) -> Mixture:
    held = HoldOut(rows=8)
    parts = [
        part("instruct", noisy(), name="noise", hold_out=held, weight=0.5),
        part("instruct", learnable(), name="skill", hold_out=held, weight=0.5),
    ]
    return Mixture(parts=parts, **fields)


def step_of(key: str, **more: Any) -> Step:
    fixed: dict[str, Any] = {"fields": {"shares": DOREMI}, "schedule": schedule(12), "lr": 3e-3}
    return training("multi_task", key, tasks(), **{**fixed, **more})


def search(shop: Shop, step: Step) -> Search:
    """The search that a step would make."""
    job = shop.job(step)
    grown = multi_task.begin(step, job)
    read = material.gather(step, job, material.speak(step, job, grown.start))

    def fresh() -> trainable.Trained:
        torch.manual_seed(0)
        start = multi_task.begin(step, job).start
        return trainable.make_trainable(start, stage.weights_of(step))

    return Search(step, job, read.parts, read.lens, fresh)


def test_the_robust_gradient_is_the_weighted_mean_of_tasks(shop: Shop) -> None:
    """sum_i alpha_i x mean loss of task i's tokens, by a second implementation, for any micro."""
    alpha = [0.8, 0.2]
    found = []
    for micro in (8, 3):
        made = search(shop, step_of("gradient", weights="full", place=place(micro)))
        rows = next(doremi.drawn(made))
        trained = made.begin()
        doremi.robust_backward(made, trained, rows, alpha)
        named = dict(trained.model.named_parameters())
        found.append({name: value.grad.clone() for name, value in named.items()})
        trained.model.zero_grad()
    loss = torch.zeros(())
    for at, weight in enumerate(alpha):
        own = [doremi.row_of(made, one) for one in rows if one[0] == at]
        sums = [one_loss(trained.model, row) for row in own]
        loss = loss + weight * torch.stack(sums).sum() / sum(row.supervised for row in own)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, value in trained.model.named_parameters():
        for ours in found:
            assert float((ours[name] - value.grad).abs().max()) < 1e-5, name


def one_loss(model: Any, row: Row) -> torch.Tensor:
    """transformers' own loss of one row, as a sum over its supervised tokens."""
    given = torch.tensor([row.ids]), torch.tensor([row.labels])
    mean: torch.Tensor = model(input_ids=given[0], labels=given[1]).loss
    return mean * row.supervised


def test_the_proxy_sees_every_task_evenly(shop: Shop) -> None:
    """Whatever the mix says: each update holds as many rows of one task as of the other."""
    made = search(shop, step_of("even"))
    for rows in doremi.drawn(made):
        assert sum(task == 0 for task, _ in rows) == 4


def test_what_can_be_learnt_gets_more_than_noise(shop: Shop) -> None:
    """The skill is where the proxy lags; the found shares are trained on, kept and told."""
    step = step_of("searched")
    shop.run(step)
    kept = json.loads((shop.store.object("searched") / "shares.json").read_text())
    assert kept["tasks"] == ["noise", "skill"]
    assert len(kept["course"]) == 12
    assert kept["shares"] == pytest.approx(doremi.mean(kept["course"]))
    assert kept["shares"][1] > 0.55
    assert any(
        note.startswith("doremi: shares of tokens") for note in shop.said("searched", "note")
    )


def test_the_shares_found_are_the_shares_trained(shop: Shop) -> None:
    """Of the trained tokens of 400 rows each task has its share, to one row."""
    made = search(shop, step_of("used"))
    found = doremi.Found(["noise", "skill"], [0.5, 0.5], [0.3, 0.7], [])
    mixed = doremi.applied(material.mixture(made.step), found)
    spent = [0, 0]
    rows = [part.train for part in made.parts]
    for at, row in islice(mix.stream(mixed, rows, seed=1), 400):
        spent[at] += rows[at][row].supervised
    assert spent[0] / sum(spent) == pytest.approx(0.3, abs=0.01)


def test_a_killed_search_and_a_killed_run_end_in_the_same_bits(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at update 8 of 12: the search is not made again, and all bits are equal."""
    straight = step_of("straight", schedule=schedule(12, save_every=3))
    broken = step_of("broken", schedule=schedule(12, save_every=3))
    expected = shop.run(straight)
    after = loop.after_update

    def dying(run: loop.Training) -> None:
        after(run)
        if run.progress.at == 8:
            raise RuntimeError

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(loop, "after_update", dying)
        shop.run(broken)
    with monkeypatch.context() as patched:
        patched.setattr(doremi, "reference_losses", None)  # would fail if it were asked
        assert shop.run(broken) == expected
    assert shop.weights("broken") == shop.weights("straight")
