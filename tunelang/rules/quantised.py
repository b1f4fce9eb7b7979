"""Rules on weights held in few bits (TL419): what can be asked of them."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, error, replace
from tunelang.recipe.model import Choice, Declared, Given
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import stages

BITS = (4, 8)  # that bitsandbytes holds weights in
FOUR_ONLY = ("type", "double_quant", "compute")


def no_such_quantisation(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL419: bits that no library holds weights in, or a setting that 8 bits do not have."""
    for _, stage in stages(resolved):
        weights = stage.get("weights")
        if not isinstance(weights, Choice) or weights.name != "qlora":
            continue
        bits = weights.values["bits"]
        if bits.value not in BITS:
            yield _bits(stage, bits)
        elif bits.value == 8:
            yield from _of_four(stage, weights)


def _bits(stage: Declared, bits: Given) -> Diagnostic:
    near = min(BITS, key=lambda each: abs(each - bits.value))
    return error(
        "TL419",
        "no-such-quantisation",
        f"`{stage.name}` holds its base in {bits.value} bits, and there are 4 and 8",
        bits.span or stage.span_of("weights"),
        "4 or 8",
        fix=replace(bits.span, str(near), safe=False) if bits.span else None,
    )


def _of_four(stage: Declared, weights: Choice) -> Iterator[Diagnostic]:
    for name in FOUR_ONLY:
        given = weights.values.get(name)
        if given is None or given.is_default or given.span is None:
            continue
        yield error(
            "TL419",
            "no-such-quantisation",
            f"`{stage.name}` holds its base in 8 bits, which have no `{name}`",
            given.span,
            "of 4 bits only",
            help="8-bit weights are integers with one scale a row (arXiv 2208.07339)",
        )


RULES = (no_such_quantisation,)
