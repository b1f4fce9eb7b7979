"""Rules on encoders (TL4xx): where a model must write, one that only reads does not fit."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context
from tunelang.sources import encoders

READERS = ("embedding",)  # fields whose model is read with, and never asked to write


def encoder_as_model(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL427: a stage would train or ask an encoder as a language model."""
    for stage in context.recipe.stages.values():
        for path, ref, span in stage.references():
            base = context.bases.get(ref.name)
            if base is None or not base.encoder or path in READERS:
                continue
            yield error(
                "TL427",
                "encoder-as-model",
                f"`{ref.name}` {base.encoder}",
                span,
                "an encoder",
                others=(Label(context.recipe.declared[ref.name].span, "declared here"),),
                help=encoders.HELP,
            )


RULES = (encoder_as_model,)
