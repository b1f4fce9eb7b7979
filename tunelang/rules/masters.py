"""Rules on the weights that updates are added to (TL617)."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, warning
from tunelang.recipe.model import Choice
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import setting
from tunelang.rules.stages import stages
from tunelang.rules.tuning import rate

# At 1e-5 a bf16 matrix moves at 9% of its entries, at 2e-4 as an fp32 one does (measured on
# adapters); a bf16 number has 8 bits, so a step below 1/256 of a weight is rounded away.
ENOUGH = 1e-4


def updates_rounded_away(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL617: bf16 weights without fp32 masters, at a rate whose steps are too small for them."""
    for _, stage in stages(resolved):
        weights, lr = stage.get("weights"), stage.get("lr")
        bare = isinstance(weights, Choice) and str(weights.get("masters")) == "none"
        if bare and lr and lr < ENOUGH and str(stage.get("precision")) == "bf16":
            yield warning(
                "TL617",
                "updates-rounded-away",
                f"`{stage.name}` adds steps of {rate(lr)} to bf16 weights, which most are too "
                "small for",
                stage.span_of("weights"),
                "rounded away",
                help="keep fp32 masters, or train an adapter: `weights = lora(rank = 16)`",
                fix=setting(stage, "weights", "full"),
            )


RULES = (updates_rounded_away,)
