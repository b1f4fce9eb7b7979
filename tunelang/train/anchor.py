"""L2-SP: weights are held near where they started, not near zero.

Omega = alpha/2 ||w_S - w_S^0||^2 + beta/2 ||w_new||^2 (Li et al. 2018, arXiv 1802.01483, eq. 2).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def l2_sp(
    now: Mapping[str, Tensor], start: Mapping[str, Tensor], alpha: float, beta: float
) -> Tensor:
    """The penalty [] of weights by name: those in `start` against it, all others against 0."""
    old = [(value - start[name]).square().sum() for name, value in now.items() if name in start]
    new = [value.square().sum() for name, value in now.items() if name not in start]
    return alpha / 2 * total(old) + beta / 2 * total(new)


def total(terms: list[Tensor]) -> Tensor:
    """The sum of scalars, 0 where there are none."""
    return torch.stack(terms).sum() if terms else torch.zeros(())


def copies(now: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are, to be held against later."""
    return {name: value.detach().clone() for name, value in now.items()}
