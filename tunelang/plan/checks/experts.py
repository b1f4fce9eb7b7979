"""Rules on experts that look into the model (TL514, TL539, TL744)."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, hint
from tunelang.estimate import experts
from tunelang.estimate.parameters import Architecture
from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared


def _trained(
    plan: Plan, context: Context
) -> Iterator[tuple[Declared, str, Declared, Architecture]]:
    """Every stage whose model is known: the stage, what trains, and the model it goes back to."""
    for stage in context.recipe.stages.values():
        weights = stage.get("weights")
        root = graph.root_of(context.recipe, stage.name)
        base = context.bases.get(root) if root else None
        if isinstance(weights, Choice) and root and base and base.architecture:
            yield stage, weights.name, context.recipe.declared[root], base.architecture


def no_experts(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL514: a dense model has no experts to choose from."""
    for stage, kind, root, known in _trained(plan, context):
        if kind == "experts" and known.experts is None:
            yield error(
                "TL514",
                "no-experts",
                f"`{stage.name}` trains chosen experts, and `{root.name}` has none",
                stage.span_of("weights"),
                "nothing to choose from",
                others=(Label(root.span, "a dense model"),),
                help="instruction_tuning with `weights = lora` trains little of a dense model",
            )


def router_unbalanced(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL539: full tuning of a mixture trains its routers, and nothing keeps their load even."""
    for stage, kind, root, known in _trained(plan, context):
        if kind == "full" and known.experts:
            yield hint(
                "TL539",
                "router-unbalanced",
                f"`{stage.name}` trains the routers of `{root.name}` without a loss that keeps the "
                f"load of its {known.experts.count} experts even",
                stage.span_of("weights"),
                "routers train too",
                others=(Label(root.span, "a mixture of experts"),),
                help="`lora`, or `experts` where the method takes it, leaves routers as they are",
            )


def no_such_expert(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL744: an expert config was made for another model."""
    configs = {step.name: (step.weights.fields if step.weights else {}) for step in plan.steps}
    for stage, kind, root, known in _trained(plan, context):
        config = configs.get(stage.name, {}).get("config")
        if kind != "experts" or known.experts is None or not config:
            continue
        selection, _ = experts.selection_of(config)
        wrong = next(_strange(selection, known), None)
        if wrong:
            first = known.layers - known.experts.layers
            yield error(
                "TL744",
                "no-such-expert",
                f"the expert config of `{stage.name}` names {wrong}, which `{root.name}` has not",
                stage.get("weights").values["config"].span or stage.span_of("weights"),
                "made for another model",
                others=(Label(root.span, "the model"),),
                help=f"layers {first} to {known.layers - 1} have experts 0 to "
                f"{known.experts.count - 1} each",
            )


def _strange(selection: experts.Selection, known: Architecture) -> Iterator[str]:
    """Layers without experts and experts beyond the last; the first blocks of some are dense."""
    assert known.experts is not None
    first = known.layers - known.experts.layers
    for layer, chosen in selection.items():
        if chosen and not first <= int(layer) < known.layers:
            yield f"experts in layer {layer}"
        elif chosen and max(chosen) >= known.experts.count:
            yield f"expert {max(chosen)} in layer {layer}"


RULES = (no_experts, router_unbalanced, no_such_expert)
