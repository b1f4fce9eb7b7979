"""Rules on weights held in few bits that look into the model's layers (TL418)."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context
from tunelang.recipe import graph
from tunelang.rules.edits import setting


def unquantised_experts(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL418: a layer's experts are one parameter, which bitsandbytes passes by in silence."""
    for stage in context.recipe.stages.values():
        weights = stage.get("weights")
        root = graph.root_of(context.recipe, stage.name)
        base = context.bases.get(root) if root else None
        if weights is None or weights.name != "qlora" or not (base and base.architecture):
            continue
        experts = base.architecture.experts
        if experts and root:
            yield error(
                "TL418",
                "unquantised-experts",
                f"`{stage.name}` would hold `{root}` in few bits, and its experts would stay whole",
                stage.span_of("weights"),
                "experts cannot be held so",
                others=(
                    Label(context.recipe.declared[root].span, f"{experts.count} experts a layer"),
                ),
                help="bitsandbytes holds linear layers only; use `lora`, `esft` or a dense model",
                fix=setting(stage, "weights", "lora"),
            )


RULES = (unquantised_experts,)
