"""Rules on units (TL2xx) that look at sound values."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, replace, warning
from tunelang.recipe.model import Declared
from tunelang.recipe.resolve import Resolved
from tunelang.units import Quantity

LENGTHS = ("length", "rollout.reply", "sampling.reply")
_ROUND = re.compile(r"([0-9]+)k\b")


def k_is_1000(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL205: `2k tokens` of length is 2000, and 2048 was probably meant."""
    assert resolved.recipe is not None
    for stage in resolved.recipe.stages.values():
        for path in LENGTHS:
            given = stage.values.get(path)
            if given and given.span and isinstance(given.value, Quantity):
                yield from _round_k(stage, path, _ROUND.search(given.span.text))


def _round_k(stage: Declared, path: str, found: re.Match[str] | None) -> Iterator[Diagnostic]:
    if not found:
        return
    span = stage.span_of(path)
    thousands = int(found[1])
    fixed = span.text.replace(f"{found[1]}k", f"{found[1]}Ki")
    yield warning(
        "TL205",
        "k-is-1000",
        f"`{span.text}` is {thousands * 1000:,} tokens, not {thousands * 1024:,}",
        span,
        "k is 1000",
        help=f"write `{fixed}` for {thousands * 1024:,}",
        fix=replace(span, fixed, safe=False),
    )


RULES = (k_is_1000,)
