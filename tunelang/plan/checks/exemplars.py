"""Rules on exemplars (TL533) that look into the rows: how many of them fit into a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tunelang.diagnostic import Diagnostic, warning
from tunelang.plan.ir import Plan, Step
from tunelang.plan.mixing import known
from tunelang.plan.passes.context import Context
from tunelang.plan.schedule import CHARACTERS_PER_TOKEN
from tunelang.units import Quantity, show


def exemplars_do_not_fit(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL533: the usual row, as often as `shots` asks for it, is longer than the prompt may be."""
    for step in plan.steps:
        mode = step.fields.get("mode")
        if step.product != "prompted" or not isinstance(mode, dict) or not step.length:
            continue
        usual = usual_tokens(step)
        room = int(step.length // usual) - 1 if usual else 0  # one of them is the question
        shots = int(mode["shots"])
        if usual and room < shots:
            stage = context.recipe.declared[step.name]
            needed = Quantity(float(-(-round(usual * (shots + 1)) // 64) * 64), "tokens")
            yield warning(
                "TL533",
                "exemplars-do-not-fit",
                f"`{step.name}` asks for {shots} exemplars, and about {max(0, room)} of the usual "
                f"{round(usual)} tokens fit beside a question into {step.length}",
                stage.span_of("length"),
                "fewer would be shown",
                help=f"write `length = {show(needed)}`, or fewer `shots`",
            )


def usual_tokens(step: Step) -> float:
    """Tokens of the median row, 0 where the rows are not on this machine."""
    found = [known(part) for part in (step.data.parts if step.data else [])]
    sizes = [size for each in found if each for size in each.sequences]
    return median(sizes) / CHARACTERS_PER_TOKEN if sizes and all(found) else 0.0


RULES = (exemplars_do_not_fit,)
