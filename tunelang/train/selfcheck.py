"""What is checked in every run before an hour is spent: masks, gradients, and what moves.

Each check is an event; one that fails ends the step and says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tunelang.train import optimise
from tunelang.train.engines.body import local
from tunelang.train.engines.engine import Engine
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.losses import IGNORED

WATCHED = 3  # frozen tensors looked at bit by bit
MARKS = 1024  # numbers of a weight: a copy of all would double them in the first step
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


def watched_step(
    job: Job, engine: Engine, modules: dict[str, nn.Module], most: float, unit: str = "main"
) -> float:
    """The first optimizer step: what trains must move, what is frozen must stay, bit for bit.

    Returns the norm of the gradients. Of sharded weights every process sees its own part.
    """
    held = [value for module in modules.values() for value in module.parameters()]
    frozen = [value for value in held if not value.requires_grad]
    frozen = frozen[:: max(1, len(held) // WATCHED)]
    moving = engine.held(unit)
    reached = len([value for value in moving if has_gradient(value)]) / max(1, len(moving))
    before = [mark(value) for value in moving]
    still = [local(value).detach().clone() for value in frozen]
    norm = optimise.update(engine, unit, most)
    trouble = ("no gradient reaches what should train", "")
    job.check("gradients-reach-weights", reached or norm, norm > 0, trouble)
    moved = largest_move(moving, before)
    moved = max(engine.together([moved]))
    trouble = ("the first update changed nothing", "is lr large enough?")
    job.check("trained-weights-move", moved, moved > 0 and math.isfinite(moved), trouble)
    pairs = zip(frozen, still, strict=True)
    changed = sum(not torch.equal(local(now).detach(), then) for now, then in pairs)
    changed = int(engine.total([changed])[0])
    job.check("frozen-weights-stay", changed, changed == 0, ("a frozen weight has changed", ""))
    return norm


def mark(value: Tensor) -> Tensor:
    """Some numbers of a weight, spread over the part that is here."""
    flat = local(value).detach().flatten()
    return flat[:: max(1, len(flat) // MARKS)].clone()


def largest_move(values: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    """How far the marked number that moved most has moved."""
    pairs = zip(values, before, strict=True)
    moves = [(mark(now) - then).abs().max() for now, then in pairs if then.numel()]
    return float(torch.stack(moves).max()) if moves else 0.0


def has_gradient(value: Tensor) -> bool:
    """Did any gradient arrive at this weight?"""
    return value.grad is not None and bool(local(value.grad).any())


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
