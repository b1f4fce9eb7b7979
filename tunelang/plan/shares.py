"""How a mix shares rows or tokens among its sources: known before anything is drawn.

Shares follow seqio: scale, then cap, then temperature.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunelang.plan.ir import Mixture


def shares(mixture: Mixture, sizes: Sequence[float]) -> list[float]:
    """The share of each part, adding up to 1; `sizes` are its rows, or tokens if `by` says so.

    fixed: weight. proportional: min(scale n, cap). temperature: min(scale n, cap)^(1/T)
    (T5, arXiv 1910.10683 section 3.5.2; seqio `mixing_rate_num_examples`). The scale is the weight
    over an even one, so that it is 1 for every part of a mix in even shares.
    """
    weights = [part.weight for part in mixture.parts]
    if mixture.strategy == "fixed":
        rates = weights
    else:
        cap = mixture.cap or float("inf")
        power = 1 / mixture.temperature if mixture.strategy == "temperature" else 1.0
        scales = [share * len(weights) for share in whole(weights)]
        pairs = zip(scales, sizes, strict=True)
        rates = [min(scale * size, cap) ** power for scale, size in pairs]
    return whole(rates)


def whole(rates: Sequence[float]) -> list[float]:
    """Rates as shares of their sum."""
    total = sum(rates)
    return [rate / total for rate in rates]


def of_rows(mixture: Mixture, rows: Sequence[int], tokens: Sequence[float]) -> list[float]:
    """The share of the rows drawn that comes from each part, which has so many rows and tokens."""
    if mixture.by == "rows":
        return shares(mixture, rows)
    wanted = zip(shares(mixture, tokens), rows, tokens, strict=True)
    return whole([share * size / count for share, size, count in wanted])


def of_tokens(mixture: Mixture, rows: Sequence[int], tokens: Sequence[float]) -> list[float]:
    """The share of the tokens trained that comes from each part."""
    drawn = zip(of_rows(mixture, rows, tokens), rows, tokens, strict=True)
    return whole([share * count / size for share, size, count in drawn])


def passes(
    mixture: Mixture, rows: Sequence[int], tokens: Sequence[float], drawn: int
) -> list[float]:
    """How often each row of each part is seen when `drawn` rows are taken in all."""
    parts = of_rows(mixture, rows, tokens)
    return [share * drawn / size for share, size in zip(parts, rows, strict=True)]
