"""How likely a model finds given replies: log-probabilities of their tokens, and sums a reply.

Only supervised positions go through the output layer, in pieces where they are many.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tunelang.train import forward
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.losses import IGNORED, log_probabilities
from tunelang.train.scoring import groups


def tokens(model: Any, rows: Sequence[Row], lens: Lens) -> Tensor:
    """log p of every supervised token of `rows`, one after the other, in fp32 -> [N]."""
    batch = forward.collate(rows, lens.pad, lens.device)
    with forward.autocast(lens.precision, lens.device):
        if not forward.has_plain_head(model):
            return log_probabilities(*forward.supervised_logits(model, batch))
        hidden, targets = forward.supervised_states(model, batch)
        head = forward.causal(model).get_output_embeddings()

        def piece(states: Tensor, wanted: Tensor) -> Tensor:
            return log_probabilities(head(states), wanted)

        size = forward.most_positions(model)
        if len(targets) <= size:
            return piece(hidden, targets)
        pieces = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
        return torch.cat([checkpoint(piece, *one, use_reentrant=False) for one in pieces])


def owners(rows: Sequence[Row], device: str) -> Tensor:
    """[N]: to which row each supervised token belongs."""
    counts = torch.tensor([row.supervised for row in rows], device=device)
    return torch.repeat_interleave(torch.arange(len(rows), device=device), counts)


def sums(model: Any, rows: Sequence[Row], lens: Lens) -> Tensor:
    """log p(reply | prompt) [B] of rows whose labels are the reply."""
    found = tokens(model, rows, lens)
    return per_row(found, rows, lens.device)


def per_row(found: Tensor, rows: Sequence[Row], device: str) -> Tensor:
    """Values of supervised tokens [N] added up row by row -> [B]."""
    return found.new_zeros(len(rows)).index_add(0, owners(rows, device), found)


def lengths(rows: Sequence[Row], device: str) -> Tensor:
    """[B]: how many tokens the replies have."""
    return torch.tensor([float(row.supervised) for row in rows], device=device)


def sums_of(model: Any, rows: Sequence[Row], lens: Lens) -> Tensor:
    """`sums` without gradients, in small batches of like length, in the order given."""
    return batched(lambda taken: sums(model, taken, lens), rows, lens.device)


def batched(value: Callable[[Sequence[Row]], Tensor], rows: Sequence[Row], device: str) -> Tensor:
    """`value` of rows [B], without gradients and never over many tokens at once."""
    ids = [row.ids for row in rows]
    order = sorted(range(len(rows)), key=lambda at: len(ids[at]))
    found = torch.empty(len(rows), device=device)
    with torch.no_grad():
        for group in groups(order, ids):
            found[group] = value([rows[at] for at in group])
    return found


def whole(row: Row) -> Row:
    """The same tokens, the prompt supervised too."""
    return Row(row.ids, list(row.ids))


def in_replies(rows: Sequence[Row], whole: Collection[int], device: str) -> Tensor:
    """[N], 1.0 where a supervised token is part of a reply; the rows numbered in `whole` are read
    with their prompts."""
    marks = [
        float(label != IGNORED)
        for at, row in enumerate(rows)
        for label in row.labels[1:]
        if at in whole or label != IGNORED
    ]
    return torch.tensor(marks, device=device)
