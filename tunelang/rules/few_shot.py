"""Rules on few-shot stages (TL532): what a mode is given and would not read."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, error
from tunelang.methods.few_shot import BY_MEANING
from tunelang.recipe.model import Choice, Declared, Given
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import data_of, stages


def mode_field_unused(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL532: a value that this way to choose, or these rows, never look at."""
    for recipe, stage in stages(resolved, "few_shot"):
        mode = stage.get("mode")
        if not isinstance(mode, Choice):
            continue
        select = str(mode.get("select"))
        forms = {part.get("format").name for part in data_of(stage, recipe) if part.get("format")}
        if mode.name == "in_context" and select not in BY_MEANING:
            yield from _unused(stage, stage.values.get("embedding"), "embedding", MEANING)
        if mode.name == "in_context" and select != "diverse":
            yield from _unused(stage, mode.values.get("share"), "share", "`select = diverse`")
        if forms and "labelled" not in forms:
            for name in ("pattern", "words"):
                yield from _unused(stage, mode.values.get(name), name, "`labelled` rows")


MEANING = "`select = nearest` and `select = diverse`"


def _unused(stage: Declared, given: Given | None, name: str, reader: str) -> Iterator[Diagnostic]:
    if given is None or given.is_default or given.span is None:
        return
    yield error(
        "TL532",
        "mode-field-unused",
        f"`{name}` of `{stage.name}` is read only by {reader}",
        given.span,
        "would be ignored",
        help=f"leave `{name}` out, or choose what reads it",
    )


RULES = (mode_field_unused,)
