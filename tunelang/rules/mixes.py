"""Rules on mixes and their tasks (TL202, TL312) that the recipe alone decides."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.recipe.model import Choice
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import recipe_of, stages


def cap_of_other_unit(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL202: a cap in rows on a mix that shares tokens, or the other way round."""
    for mix in recipe_of(resolved).of_kind("mix").values():
        strategy: Choice | None = mix.get("strategy")
        cap = strategy.get("cap") if strategy else None
        by = str(mix.get("by") or "rows")
        if strategy and cap and cap.unit != by:
            given = strategy.values["cap"]
            yield error(
                "TL202",
                "wrong-dimension",
                f"`{mix.name}` shares {by}, and its cap counts {cap.unit}",
                given.span or mix.span,
                f"counts {cap.unit}",
                others=(Label(mix.span_of("by"), f"shares {by}"),),
                help=f"a part is capped at what is shared: write the cap in {by}",
            )


def all_tasks_held_out(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL312: every part of the mix is measured, and none is left to train."""
    for recipe, stage in stages(resolved, "multi_task"):
        aside = {ref.name for ref in stage.get("hold_out_tasks") or ()}
        ref = stage.get("data")
        mix = recipe.declared.get(ref.name) if ref else None
        names = {part.name for part, _ in mix.parts} or {mix.name} if mix else set()
        if names and names <= aside:
            yield error(
                "TL312",
                "empty-after-filters",
                f"`{stage.name}` holds out every task of `{ref.name if ref else ''}`",
                stage.span_of("hold_out_tasks"),
                "nothing is left to train",
                others=(Label(mix.span, "its tasks"),) if mix else (),
                help="keep at least one task to train",
            )


RULES = (cap_of_other_unit, all_tasks_held_out)
