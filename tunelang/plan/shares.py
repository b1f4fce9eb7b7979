"""How a mix shares rows among its sources: known before anything is drawn.

Shares follow seqio: scale, then cap, then temperature.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunelang.plan.ir import Mixture


def shares(mixture: Mixture, sizes: Sequence[int]) -> list[float]:
    """The share of each part, adding up to 1; `sizes` are their rows.

    fixed: weight. proportional: min(weight n, cap). temperature: min(weight n, cap)^(1/T)
    (T5, arXiv 1910.10683 section 3.5.2; seqio `mixing_rate_num_examples`).
    """
    weights = [part.weight for part in mixture.parts]
    if mixture.strategy == "fixed":
        rates = weights
    else:
        cap = mixture.cap or float("inf")
        power = 1 / mixture.temperature if mixture.strategy == "temperature" else 1.0
        pairs = zip(weights, sizes, strict=True)
        rates = [min(weight * size, cap) ** power for weight, size in pairs]
    return [rate / sum(rates) for rate in rates]


def passes(mixture: Mixture, sizes: Sequence[int], drawn: int) -> list[float]:
    """How often each row of each part is seen when `drawn` rows are taken in all."""
    parts = shares(mixture, sizes)
    return [share * drawn / size for share, size in zip(parts, sizes, strict=True)]
