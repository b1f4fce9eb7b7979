"""What is checked in every run before an hour is spent: masks, gradients, and what moves.

Each check is an event; one that fails ends the step and says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.losses import IGNORED

WATCHED = 3  # frozen tensors looked at bit by bit
ROWS = 64  # rows whose mask is looked at


def masks(job: Job, rows: Sequence[Row], stop: set[int], *, replies: bool) -> None:
    """Every row trains something; rows end with a trained end token; prompts are not trained."""
    seen = rows[:ROWS]
    least = min(row.supervised for row in seen)
    job.check("mask-not-empty", least, least > 0, ("a row has no token to train", ""))
    share = sum(trains_end(row, stop) for row in seen) / len(seen)
    help = "the tokenizer's end-of-text token is not the one that ends the rows"
    job.check("end-is-trained", share, share > 0, ("no row trains the end of its reply", help))
    if replies:
        masked = sum(row.labels[1:].count(IGNORED) for row in seen)
        trouble = ("the whole of every row is trained, prompts too", "")
        job.check("prompts-not-trained", masked, masked > 0, trouble)


def one_bos(job: Job, rows: Sequence[Row], bos: int | None) -> None:
    """No row begins twice: a template and a tokenizer that each write a BOS would make two."""
    twice = sum(bos is not None and row.ids[:2] == [bos, bos] for row in rows[:ROWS])
    trouble = ("rows begin with two begin-of-text tokens", "the data holds one: take it out")
    job.check("one-bos", twice, twice == 0, trouble)


def trains_end(row: Row, stop: set[int]) -> bool:
    """Is an end token among the row's labels?"""
    return any(label in stop for label in row.labels[1:])


def watched_step(job: Job, modules: dict[str, nn.Module], optimizer: Optimizer) -> None:
    """The first optimizer step: what trains must move, what is frozen must stay, bit for bit."""
    found = [value for module in modules.values() for value in module.parameters()]
    moving = [value for value in found if value.requires_grad and has_gradient(value)]
    trains = sum(value.requires_grad for value in found)
    reached = len(moving) / max(1, trains)
    trouble = ("no gradient reaches what should train", "")
    job.check("gradients-reach-weights", reached, reached > 0, trouble)
    frozen = [value for value in found if not value.requires_grad][:: max(1, len(found) // WATCHED)]
    watched = max(moving, key=largest_gradient)
    before, still = watched.detach().clone(), [value.detach().clone() for value in frozen]
    optimizer.step()
    moved = float((watched.detach() - before).abs().max())
    trouble = ("the first update changed nothing", "is lr large enough?")
    job.check("trained-weights-move", moved, moved > 0 and math.isfinite(moved), trouble)
    pairs = zip(frozen, still, strict=True)
    changed = sum(not torch.equal(now.detach(), then) for now, then in pairs)
    job.check("frozen-weights-stay", changed, changed == 0, ("a frozen weight has changed", ""))


def has_gradient(value: Tensor) -> bool:
    """Did any gradient arrive at this weight?"""
    return value.grad is not None and bool(value.grad.any())


def largest_gradient(value: Tensor) -> float:
    """The largest entry of a weight's gradient."""
    return float(value.grad.abs().max()) if value.grad is not None else 0.0


def first_pairs(job: Job, loss: float, gaps: Tensor) -> None:
    """|loss - ln 2| <= mean |gap| for every Bradley-Terry loss, since its slope is at most 1."""
    band = float(gaps.abs().mean()) + 1e-4
    off = abs(loss - math.log(2))
    trouble = (f"the first loss {loss:.4f} cannot come from these scores", "")
    job.check("first-pair-loss", loss, off <= band, trouble)


def same_alone(job: Job, alone: Tensor, together: Tensor, tolerance: float) -> None:
    """A row's score does not depend on the rows and the padding beside it."""
    off = float((alone - together).abs().max())
    trouble = ("a row's score depends on the rows beside it", "")
    job.check("scores-ignore-padding", off, off <= tolerance, trouble)
