"""Rules on what a reward model learns from (TL513)."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import stages


def margin_of_the_best(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL513: a softmax over a list has no pairs to subtract a margin from."""
    for _, stage in stages(resolved, "reward_modeling"):
        if stage.get("loss") == "best_of" and stage.get("margin"):
            yield error(
                "TL513",
                "contradictory-loss",
                f"`{stage.name}` picks the best of a list, where no pair has a margin",
                stage.span_of("margin"),
                "has no effect",
                others=(Label(stage.span_of("loss"), "no pairs here"),),
                help="write `loss = pairs`, or take `margin` out",
            )


RULES = (margin_of_the_best,)
