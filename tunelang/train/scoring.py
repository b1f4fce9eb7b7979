"""Scores of replies: a scalar head in fp32 reads the hidden state of each row's last token.

Used to train a reward and, by PPO, to ask one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tunelang.train import forward
from tunelang.train.evaluate import Lens


def scores(model: Any, head: Tensor, ids: Sequence[list[int]], lens: Lens) -> Tensor:
    """Scores [B] in fp32 of token rows, without bias; head [1, H].

    The head stays out of bf16: at scores of 4 to 8 a bf16 step is 1/32, too coarse for a loss.
    """
    longest = max(map(len, ids))
    padded = [row + [lens.pad] * (longest - len(row)) for row in ids]
    tensor = torch.tensor(padded, device=lens.device)
    last = torch.tensor([len(row) - 1 for row in ids], device=lens.device)
    with forward.autocast(lens.precision, lens.device):
        hidden = forward.hidden_states(model, tensor)  # [B, T, H]
    read = hidden[torch.arange(len(ids), device=lens.device), last]  # [B, H]
    with torch.autocast(lens.device, enabled=False):
        return (read.float() @ head.float().T)[:, 0]


def scores_of(model: Any, head: Tensor, ids: Sequence[list[int]], lens: Lens) -> Tensor:
    """`scores` without gradients, in small batches of like length, in the order given."""
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    found = torch.empty(len(ids), device=lens.device)
    with torch.no_grad():
        for group in groups(order, ids):
            found[group] = scores(model, head, [ids[at] for at in group], lens)
    return found


def groups(order: Sequence[int], ids: Sequence[list[int]], tokens: int = 4096) -> list[list[int]]:
    """Row numbers in batches of at most `tokens` padded tokens, or one row."""
    batches: list[list[int]] = [[]]
    for at in order:
        if batches[-1] and (len(batches[-1]) + 1) * len(ids[at]) > tokens:
            batches.append([])
        batches[-1].append(at)
    return batches if order else []
