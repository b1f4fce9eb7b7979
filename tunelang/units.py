"""Quantities: tokens, steps, epochs, bytes, time, money, ratios.

A quantity is a number and a unit. Counted things keep their noun, bytes are bytes, durations
are seconds, money is dollars, ratios are 0.03 for `3%`.
"""

from __future__ import annotations

from dataclasses import dataclass

NOUNS = (
    "tokens",
    "steps",
    "epochs",
    "episodes",
    "sequences",
    "pairs",
    "lists",
    "rows",
    "samples",
    "prompts",
)
COUNTS = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Quantity:
    """A number with its unit: a noun, `bytes`, `seconds`, `dollars`, `dollars/h` or `ratio`."""

    amount: float
    unit: str

    def __str__(self) -> str:
        return show(self)


def number(value: float) -> str:
    """Print a number as a person would write it: `4875`, `0.5`, `2e-05` as `2e-5`."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value)}"
    return f"{value:.10g}".replace("e-0", "e-")


def show(quantity: Quantity) -> str:
    """Print a quantity as a recipe would write it."""
    amount, unit = quantity.amount, quantity.unit
    if unit == "ratio":
        return f"{number(amount * 100)}%"
    if unit == "dollars":
        return f"${number(amount)}"
    if unit == "dollars/h":
        return f"${number(amount)}/h"
    if unit == "bytes":
        return _largest(amount, BYTES)
    if unit == "seconds":
        return _largest(amount, SECONDS)
    return f"{_large(amount)} {unit[:-1] if amount == 1 else unit}"


def _large(amount: float) -> str:
    """Millions and more as people write them, where that is exact: `2B`, `1500M`."""
    for letter, size in (("B", 10**9), ("M", 10**6)):
        if amount >= size and amount % size == 0:
            return f"{number(amount / size)}{letter}"
    return number(amount)


def _largest(amount: float, scale: dict[str, int]) -> str:
    """In the largest unit that divides the amount; decimal bytes win ties."""
    for name, size in sorted(scale.items(), key=lambda item: -item[1]):
        if amount >= size and (amount / size) == int(amount / size):
            return f"{number(amount / size)}{name}"
    smallest = min(scale, key=lambda name: scale[name])
    return f"{number(amount)}{smallest}"
