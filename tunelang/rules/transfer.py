"""Rules on transfer (TL541): what changes a model's own weights needs them to be saved."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.recipe import kinds
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import setting
from tunelang.rules.models import kind_of
from tunelang.rules.stages import stages


def needs_own_weights(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL541: another vocabulary, or weights held near their start, beside an adapter."""
    for _, stage in stages(resolved, "transfer"):
        chosen = kinds.weights().get(kind_of(stage))
        if chosen is None or not chosen.adapter:
            continue
        asked = (
            [("tokenizer", "puts other embeddings into the model")]
            if stage.get("tokenizer")
            else []
        )
        asked += [("l2_sp.alpha", "holds weights of the model")] if stage.get("l2_sp.alpha") else []
        for path, what in asked:
            yield error(
                "TL541",
                "needs-own-weights",
                f"`{stage.name}` {what}, and `{chosen.name}` leaves them as they are",
                stage.span_of(path),
                "not with an adapter",
                others=(Label(stage.span_of("weights"), "the model's own weights stay"),),
                help="train some of the model's own weights, as `full` and `layers` do",
                fix=setting(stage, "weights", "full"),
            )


RULES = (needs_own_weights,)
