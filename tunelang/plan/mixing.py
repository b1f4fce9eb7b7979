"""How long the rows of a mix's parts are, and so what its shares come to in rows and in tokens.

Estimated from the characters of rows that are here; of others nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunelang.plan.ir import LOCAL, DataPart, Mixture, Step
from tunelang.plan.shares import of_rows, of_tokens
from tunelang.sources import RowError
from tunelang.sources.probe import Facts, facts


@dataclass(frozen=True)
class Shared:
    """A part's share of the rows that are drawn and of the tokens that are trained."""

    name: str
    rows: float
    tokens: float


def shared(step: Step) -> list[Shared]:
    """What a step's mix comes to; empty where it has one part, or rows that are not here."""
    mixture = step.data
    lengths = mean_lengths(mixture) if mixture and len(mixture.parts) > 1 else None
    if mixture is None or lengths is None:
        return []
    rows = [found.train for part in mixture.parts if (found := known(part))]
    tokens = [size * length for size, length in zip(rows, lengths, strict=True)]
    both = zip(
        mixture.parts,
        of_rows(mixture, rows, tokens),
        of_tokens(mixture, rows, tokens),
        strict=True,
    )
    return [Shared(part.name, drawn, trained) for part, drawn, trained in both]


def mean_lengths(mixture: Mixture) -> list[float] | None:
    """Characters that a row of each part trains on average, None where any part is elsewhere."""
    found = [known(part) for part in mixture.parts]
    here = [_trained(each) for each in found if each]
    return here if len(here) == len(found) else None


def _trained(found: Facts) -> float:
    """Characters after the prompt; of plain text all."""
    replies = [whole - asked for whole, asked in zip(found.sequences, found.prompts, strict=True)]
    return max(1.0, _mean(replies))


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers)


def known(part: DataPart) -> Facts | None:
    """The facts of a local part; what cannot be read is said where the plan reads it."""
    if not isinstance(part.source, LOCAL):
        return None
    try:
        return facts(part)
    except RowError:
        return None
