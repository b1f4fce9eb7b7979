"""What each method of comparisons minimises over one list, by the name a recipe gives it.

It joins the pure losses with the log-probabilities they are taken of; it knows no models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunelang.train import list_losses
from tunelang.train import preference_losses as pairs


@dataclass(frozen=True)
class Seen:
    """What a loss may look at of one list: all [K], best reply first.

    `ratio` is log pi - log pi_ref, `log_probability` log pi, both summed over a reply; `length`
    its tokens; `labels` more for a better reply. `best` [] is the negative log-likelihood of the
    best reply over its `read` tokens, with those of its prompt where the recipe wants it.
    """

    ratio: Tensor
    log_probability: Tensor
    length: Tensor
    labels: Tensor
    margin: float
    best: Tensor
    read: int

    @property
    def mean(self) -> Tensor:
        """The mean log-probability of a token."""
        return self.log_probability / self.length

    @property
    def gap(self) -> Tensor:
        """[1]: the log-ratio of the best minus that of the worst reply."""
        return self.ratio[:1] - self.ratio[-1:]


Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Loss:
    """One loss of a list; `scores` [K] are what it wants in order, for the metrics.

    `weight` is how much the negative log-likelihood of the best of so many replies counts: its
    mean over tokens in each list, or over all tokens of an update where it is `pooled`.
    """

    of: Callable[[Seen, Fields], Tensor]
    scores: Callable[[Seen, Fields], Tensor]
    referenced: bool
    weight: Callable[[Fields, int], float] = lambda fields, replies: 0.0
    pooled: bool = False


def implicit(seen: Seen, fields: Fields) -> Tensor:
    """beta log(pi / pi_ref): the reward that a policy stands for (arXiv 2305.18290, eq. 5)."""
    found: Tensor = fields["beta"] * seen.ratio
    return found


def over_length(seen: Seen, fields: Fields) -> Tensor:
    """log pi over length to a power (arXiv 2304.05302, eq. 1)."""
    power = float(fields.get("length_penalty", 1.0))
    return seen.log_probability / seen.length**power


def lipo(seen: Seen, fields: Fields) -> Tensor:
    """Labels as they are where the recipe says so, else brought to 0 to 1 in each list."""
    labels = seen.labels if fields["labels"] == "given" else list_losses.unit(seen.labels)
    return list_losses.lipo(implicit(seen, fields), labels)


def pro(seen: Seen, fields: Fields) -> Tensor:
    """With temperatures by the gaps of labels, or all 1: then it is Plackett-Luce."""
    ones = torch.ones_like(list_losses.gaps(seen.labels))
    alike = fields["temperature"] == "one"
    return list_losses.pro(seen.mean, seen.labels, ones if alike else None)


def dpo(seen: Seen, fields: Fields) -> Tensor:
    margin = torch.full_like(seen.gap, seen.margin) if fields.get("margin") else None
    return pairs.dpo_sum(seen.gap, fields["beta"], fields["label_smoothing"], margin)


def ipo(seen: Seen, fields: Fields) -> Tensor:
    """On log-ratios over length."""
    gap = (seen.ratio / seen.length)[:1] - (seen.ratio / seen.length)[-1:]
    return pairs.ipo_sum(gap, fields["beta"])


def simpo(seen: Seen, fields: Fields) -> Tensor:
    return pairs.simpo_sum(seen.mean[:1], seen.mean[-1:], fields["beta"], fields["gamma"])


def orpo(seen: Seen, fields: Fields) -> Tensor:
    found = pairs.odds_ratio_sum(seen.mean[:1], seen.mean[-1:])
    return float(fields["lambda"]) * found


LOSSES = {
    "plackett_luce": Loss(
        lambda seen, fields: list_losses.plackett_luce(implicit(seen, fields), seen.labels),
        implicit,
        True,
    ),
    "dpo_all_pairs": Loss(
        lambda seen, fields: list_losses.all_pairs(implicit(seen, fields), seen.labels),
        implicit,
        True,
    ),
    "lipo": Loss(lipo, implicit, True),
    "rrhf": Loss(
        lambda seen, fields: list_losses.rrhf(over_length(seen, fields), seen.labels),
        over_length,
        False,
        lambda fields, replies: fields["sft_weight"],
    ),
    # The paper's code weighs the likelihood by (K - 1)^2: process_manager.py of PRO.
    "pro": Loss(
        pro, over_length, False, lambda fields, replies: fields["sft_weight"] * (replies - 1) ** 2
    ),
    "slic": Loss(
        lambda seen, fields: list_losses.slic(seen.log_probability, seen.labels, fields["margin"]),
        lambda seen, fields: seen.log_probability,
        False,
        lambda fields, replies: fields["sft_weight"],
    ),
    "dpo": Loss(dpo, implicit, True),
    "ipo": Loss(ipo, lambda seen, fields: seen.ratio / seen.length, True),
    "simpo": Loss(simpo, over_length, False),
    "orpo": Loss(orpo, over_length, False, lambda fields, replies: 1.0, pooled=True),
}
