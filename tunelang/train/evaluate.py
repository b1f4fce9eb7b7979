"""Metrics on held-out rows: token-weighted, deterministic, the same before and after.

It does not know where rows come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunelang.train import forward
from tunelang.train.forward import Row
from tunelang.train.losses import cross_entropy_sum

TOKENS = 4096  # of a batch without gradients: keeps logits of a large vocabulary under 1 GB
MOST_PERPLEXITY = 1e30  # JSON holds no infinity


@dataclass(frozen=True)
class Lens:
    """How a model is computed: precision of the arithmetic, device, padding token."""

    precision: str
    device: str
    pad: int


def measure(model: Any, rows: Sequence[Row], lens: Lens) -> dict[str, float]:
    """`loss` (nats a token), `perplexity` and `token_accuracy` over all supervised tokens.

    Empty where there are no rows.
    """
    if not rows:
        return {}
    loss, right, count = 0.0, 0, 0
    with torch.no_grad(), forward.autocast(lens.precision, lens.device):
        for group in by_length(rows):
            batch = forward.collate(group, lens.pad, lens.device)
            logits, targets = forward.supervised_logits(model, batch)
            loss += float(cross_entropy_sum(logits, targets))
            right += int((logits.argmax(-1) == targets).sum())
            count += targets.numel()
    mean = loss / count
    perplexity = min(math.exp(min(mean, 700)), MOST_PERPLEXITY)
    return {"loss": mean, "perplexity": perplexity, "token_accuracy": right / count}


def beside(
    model: Any,
    sets: Mapping[str, Sequence[Row]],
    lens: Lens,
    first: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Metrics of rows beside a step's own; `first` is what they were at its start.

    `general`: `general_perplexity`, and `forgetting`, the rise of the loss since `first` in nats a
    token. `template`: `template_loss` and `template_accuracy`.
    """
    found = {}
    if sets.get("general"):
        perplexity = measure(model, sets["general"], lens)["perplexity"]
        before = perplexity if first is None else first["general_perplexity"]
        found["general_perplexity"] = perplexity
        found["forgetting"] = math.log(perplexity) - math.log(before)
    if sets.get("template"):
        other = measure(model, sets["template"], lens)
        found["template_loss"] = other["loss"]
        found["template_accuracy"] = other["token_accuracy"]
    return found


def by_length(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Batches of rows of like length, so that little is computed on padding."""
    group: list[Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if group and (len(group) + 1) * len(row.ids) > TOKENS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
