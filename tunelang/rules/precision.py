"""Rules on number formats along a chain of stages (TL526)."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, warning
from tunelang.recipe import graph
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import setting
from tunelang.rules.stages import stages


def precision_changes(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL526: a stage is held to a reference, and rounds the weights that it starts from."""
    for recipe, stage in stages(resolved):
        assert stage.method is not None
        start = recipe.declared.get(graph.start_of(stage) or "")
        if "reference" not in stage.method.inputs or start is None or start.method is None:
            continue
        ours, theirs = stage.get("precision"), start.get("precision")
        if start.method.trains and ours and theirs and str(ours) != str(theirs):
            yield warning(
                "TL526",
                "precision-changes",
                f"`{stage.name}` computes in {ours}, and `{start.name}` was trained in {theirs}",
                stage.span_of("precision"),
                "not what it starts from",
                others=(Label(start.span_of("precision"), f"trained in {theirs}"),),
                help="what it is measured against is then not quite the model that was trained",
                fix=setting(stage, "precision", str(theirs)),
            )


RULES = (precision_changes,)
