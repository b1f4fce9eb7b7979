"""What policies of several processes rest on: draws that do not depend on how rows are parted,
figures that add up, and activations that are computed again with the same adapters and no dropout.

The processes themselves: tests/integration/test_policies.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from enumerable import LENS, prompts, toy
from policies import make_judge, step_of
from transformers.models.llama.modeling_llama import LlamaMLP
from workshop import Shop, place

from tunelang.estimate.sampling import AT_ONCE
from tunelang.train import trainable
from tunelang.train.experience import fitting
from tunelang.train.generate import Sampling
from tunelang.train.policy_run import pieces
from tunelang.train.policy_stats import Stats, merged
from tunelang.train.rollout import raced, sample


def test_a_race_of_clocks_draws_as_multinomial_does() -> None:
    """The same tokens, bit for bit, where the noise is that of the same generator."""
    logits = torch.randn(64, 384, generator=torch.Generator().manual_seed(0)) * 3
    for seed in range(20):
        same = [torch.Generator().manual_seed(seed) for _ in range(2)]
        noise = torch.empty(64, 384).exponential_(generator=same[0])
        expected = torch.multinomial(torch.softmax(logits / 0.7, -1), 1, generator=same[1])[:, 0]
        assert torch.equal(raced(logits, 0.7, noise), expected)


def test_a_race_has_the_distribution_of_its_logits() -> None:
    """Shares of 20,000 draws are within four standard errors of the probabilities."""
    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    noise = torch.empty(20_000, 4).exponential_(generator=torch.Generator().manual_seed(1))
    drawn = raced(chances.log().expand(20_000, 4), 1.0, noise)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert ((shares - chances).abs() < 4 * (chances * (1 - chances) / 20_000).sqrt()).all()


@pytest.mark.parametrize("cuts", [(8,), (3, 5), (1, 1, 6)])
def test_no_draw_depends_on_how_rows_are_parted(cuts: tuple[int, ...]) -> None:
    """Replies to eight prompts at once are those to some and then the others, each with its row.

    Seen to fail: with the noise of a part drawn for as many rows as the part has.
    """
    who = toy()
    sampling = Sampling(6, frozenset({3}), 1.0, seed=5)
    with trainable.using(who.policy.model, ("policy",)):
        together = sample(who.policy.model, prompts(), LENS, sampling)
        parted, at = [], 0
        for size in cuts:
            some = prompts()[at : at + size]
            parted += sample(who.policy.model, some, LENS, sampling, (range(at, at + size), 8))
            at += size
    assert [row.reply for row in parted] == [row.reply for row in together]
    assert len({tuple(row.reply) for row in together}) > 4


@pytest.mark.parametrize("world", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("count", [1, 7, 64, 65, 300, 512])
def test_every_row_is_drawn_once_and_no_process_waits_without_need(count: int, world: int) -> None:
    """The cut of a chunk is by rows; seeds are by chunk, whatever the number of processes."""
    cut = pieces(count, world)
    rows = [piece.start + row for piece in cut for row in piece.rows]
    assert rows == list(range(count))
    assert all(piece.start % AT_ONCE == 0 for piece in cut)
    assert len(cut) >= min(world, count) // 2
    assert all(0 < len(piece.rows) <= piece.size <= AT_ONCE for piece in cut)
    if world == 1:
        assert len(cut) == -(-count // AT_ONCE)


@pytest.mark.parametrize(
    ("count", "micro", "world", "size"), [(8, 8, 1, 8), (8, 8, 2, 4), (3, 8, 2, 2), (9, 2, 2, 2)]
)
def test_no_micro_batch_leaves_a_process_idle(
    count: int, micro: int, world: int, size: int
) -> None:
    assert fitting(count, micro, world) == size


def test_figures_of_all_processes_are_those_of_one() -> None:
    """Losses and tokens add up, updates do not; the first ratio is the worst one."""
    one = Stats({"policy_loss": 1.0}, first_ratio=1.25, clipped=0.5, entropy=2.0, tokens=1)
    other = Stats({"policy_loss": 0.5, "value_loss": 4.0}, clipped=0.0, entropy=4.0, tokens=3)
    one.updates = other.updates = 2
    found = merged([one, other])
    assert found.means() == {
        "policy_loss": 0.75,
        "value_loss": 2.0,
        "clip_fraction": 0.125,
        "entropy": 1.5,
    }
    assert found.first_ratio == 1.25


def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every pass through a layer from now on: is it one that gradients will come back through? Its
    MLP is watched: a layer whose own pass is replaced is not computed again."""
    seen: list[bool] = []
    plain = LlamaMLP.forward

    def forward(self: Any, *given: Any, **named: Any) -> Any:
        seen.append(torch.is_grad_enabled())
        return plain(self, *given, **named)

    monkeypatch.setattr(LlamaMLP, "forward", forward)
    return seen


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_activations_are_computed_again_to_the_same_bits(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With `checkpointing` every update passes each layer twice, and leads to the same weights:
    what is computed again has the adapters of its role, and no dropout.

    Seen to fail: with the value's backward pass outside of its role; with the model in evaluation
    mode as a whole, where nothing is computed again.
    """
    make_judge(shop)
    more: dict[str, Any] = {"weights": kind, "lr": 1e-3}
    if kind == "lora":
        more["adapter"] = {"dropout": 0.5}
    counts = []
    for key, again in (("plain", False), ("again", True)):
        with monkeypatch.context() as patched:
            seen = passes(patched)
            shop.run(step_of(key, place=place(checkpointing=again), **more))
            counts.append(sum(seen))
    assert shop.weights("plain") == shop.weights("again")
    updates, layers, units = 4 * 2 * 2, 2, 2
    assert counts == [updates * layers * units, 2 * updates * layers * units]
