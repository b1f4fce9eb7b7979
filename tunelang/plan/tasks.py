"""Tasks that a stage measures and never trains: read beside its mix, and no part of its shares."""

from __future__ import annotations

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.plan.data import count, data_part
from tunelang.plan.ir import DataPart, Mixture
from tunelang.recipe.model import Declared, Recipe


def with_held_out(
    stage: Declared, recipe: Recipe, found: list[Diagnostic], mixture: Mixture | None
) -> Mixture | None:
    """The mixture with the tasks that `hold_out_tasks` names; None where one cannot be read."""
    names = [ref.name for ref in stage.get("hold_out_tasks") or ()]
    if mixture is None or not names:
        return mixture
    tasks = [_task(stage, recipe.declared[name], recipe, found) for name in names]
    whole = [task for task in tasks if task]
    return mixture.model_copy(update={"held_out": whole}) if len(whole) == len(tasks) else None


def _task(
    stage: Declared, declared: Declared, recipe: Recipe, found: list[Diagnostic]
) -> DataPart | None:
    """One of them; None after saying what is wrong."""
    assert stage.method is not None
    part = data_part(declared, recipe, found)
    if part is None or count(part, declared, found) is None:
        return None
    if part.format.kind in stage.method.formats:
        return part
    takes = " or ".join(f"`{each}`" for each in stage.method.formats)
    found.append(
        error(
            "TL302",
            "wrong-format",
            f"`{stage.name}` takes {takes} rows, `{declared.name}` holds `{part.format.kind}` rows",
            stage.span_of("hold_out_tasks"),
            f"holds `{part.format.kind}` rows",
            others=(Label(declared.span, "declared here"),),
        )
    )
    return None
