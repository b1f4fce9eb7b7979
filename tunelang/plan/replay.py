"""General text beside a stage's own rows: replayed among them, or only measured on."""

from __future__ import annotations

from dataclasses import replace

from tunelang.diagnostic import Diagnostic, error
from tunelang.plan.data import count, data_part
from tunelang.plan.ir import DataPart, Mixture
from tunelang.plan.schedule import Extent
from tunelang.recipe.model import Declared, Recipe

FORMAT = "text"


def general_of(stage: Declared, recipe: Recipe, found: list[Diagnostic]) -> DataPart | None:
    """The general text of a stage: what it names to measure on, else what it replays."""
    path = "general" if stage.get("general") else "replay"
    return text_part(path, stage, recipe, found)


def with_replay(
    stage: Declared,
    recipe: Recipe,
    found: list[Diagnostic],
    rows: tuple[Mixture | None, Extent | None],
) -> tuple[Mixture | None, Extent | None]:
    """A stage's rows with its share of general text among them, as the last part.

    An epoch is one of the stage's own rows: the replayed ones come on top.
    """
    mixture, extent = rows
    general = text_part("replay", stage, recipe, found) if mixture else None
    if mixture is None or extent is None or general is None:
        return rows
    share: float = stage.get("replay_share")
    total = sum(part.weight for part in mixture.parts)
    own = [
        part.model_copy(update={"weight": part.weight / total * (1 - share)})
        for part in mixture.parts
    ]
    parts = [*own, general.model_copy(update={"weight": share})]
    more = 1 / (1 - share)
    longer = replace(
        extent,
        rows=None if extent.rows is None else round(extent.rows * more),
        characters=None if extent.characters is None else round(extent.characters * more),
    )
    return mixture.model_copy(update={"parts": parts}), longer


def text_part(
    path: str, stage: Declared, recipe: Recipe, found: list[Diagnostic]
) -> DataPart | None:
    """The data set that a field names; None where there is none, or after saying what is wrong."""
    ref = stage.get(path)
    declared = recipe.declared.get(ref.name) if ref else None
    part = data_part(declared, recipe, found) if declared else None
    if part is None or declared is None or count(part, declared, found) is None:
        return None
    if part.format.kind != FORMAT:  # of a written format a rule has said so
        said = path == "replay" and not part.format.recognised
        found += [] if said else [_wrong(path, stage, declared, part)]
        return None
    return part


def _wrong(path: str, stage: Declared, declared: Declared, part: DataPart) -> Diagnostic:
    """TL302 for a field of its own."""
    return error(
        "TL302",
        "wrong-format",
        f"`{path}` of `{stage.name}` takes `{FORMAT}` rows, and `{declared.name}` holds "
        f"`{part.format.kind}` rows",
        stage.span_of(path),
        f"holds `{part.format.kind}` rows",
    )
