"""Rules on data (TL3xx) that the recipe alone decides; `plan.checks` looks into the rows."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Fix, Label, error, replace, warning
from tunelang.recipe.model import Declared
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import data_of, format_of, parts_of, recipe_of
from tunelang.units import number

# An instruction is a conversation of one turn, a label in words its reply, a pair a list of two.
ONE_TYPE = {"instruct": "chat", "labelled": "chat", "preference": "ranking"}


def wrong_format(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL302: preference data in an sft stage, prompts in a reward stage."""
    recipe = recipe_of(resolved)
    for stage in recipe.stages.values():
        method = stage.method
        parts = data_of(stage, recipe)
        if len(_forms(parts)) > 1:
            continue  # that is said of the mix
        for part in parts:
            form = format_of(part)
            if method and form and form not in method.formats:
                takes = " or ".join(f"`{each}`" for each in method.formats)
                yield error(
                    "TL302",
                    "wrong-format",
                    f"`{stage.name}` takes {takes} rows, `{part.name}` holds `{form}` rows",
                    stage.span_of(method.data_field),
                    f"holds `{form}` rows",
                    others=(Label(part.span_of("format"), "said here"),),
                )


def _forms(parts: list[Declared]) -> set[str]:
    """The formats of data sets, those that are read in one way under one name."""
    forms = {form for part in parts if (form := format_of(part))}
    return {ONE_TYPE.get(form, form) for form in forms}


def mix_not_whole(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL303: weights do not add to 100%."""
    for mix in recipe_of(resolved).of_kind("mix").values():
        total = sum(share.value for _, share in mix.parts)
        if mix.parts and abs(total - 1) > 1e-6:
            yield error(
                "TL303",
                "mix-not-whole",
                f"the shares of `{mix.name}` add to {number(round(total * 100, 4))}%",
                mix.span,
                "not 100%",
                help=_repair(mix, total),
                fix=_mended(mix, total),
            )
        if not mix.parts:
            yield error(
                "TL303",
                "mix-not-whole",
                f"`{mix.name}` has no parts",
                mix.span,
                "empty",
                help="name data sets and their shares: `pubmed = 90%`",
            )


def _rest(mix: Declared, total: float) -> str | None:
    """The last share that would make it whole, None where the others are too much already."""
    rest = mix.parts[-1][1].value + 1 - total
    return f"{number(round(rest * 100, 4))}%" if rest > 0 else None


def _repair(mix: Declared, total: float) -> str:
    rest = _rest(mix, total)
    return f"`{mix.parts[-1][0].name} = {rest}` would make it 100%" if rest else "lower the shares"


def _mended(mix: Declared, total: float) -> Fix | None:
    rest, span = _rest(mix, total), mix.parts[-1][1].span
    return replace(span, rest, safe=False) if rest and span else None


def mixed_formats(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL304: one mix, two formats. Conversations and instructions go together, both are chats."""
    recipe = recipe_of(resolved)
    for mix in recipe.of_kind("mix").values():
        parts = parts_of(recipe, mix.name)
        if len(_forms(parts)) > 1:
            formed = [(part.name, form) for part in parts if (form := format_of(part))]
            listed = ", ".join(f"`{name}` holds `{form}`" for name, form in formed)
            yield error(
                "TL304",
                "mixed-formats",
                f"`{mix.name}` mixes formats: {listed}",
                mix.span,
                "two formats",
                others=tuple(
                    Label(part.span_of("format") or part.span, "this one")
                    for part in parts
                    if format_of(part)
                ),
                help="mix rows of one format, in one stage each",
            )


def no_held_out(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL307: nothing to measure this stage on."""
    recipe = recipe_of(resolved)
    for stage in recipe.stages.values():
        parts = data_of(stage, recipe)
        trains = stage.method is not None and stage.method.trains
        if trains and parts and not any(part.get("hold_out") or part.get("eval") for part in parts):
            names = " or ".join(f"`{part.name}`" for part in parts)
            yield warning(
                "TL307",
                "no-held-out",
                f"`{stage.name}` has no held-out rows to measure on",
                stage.span,
                "cannot be measured",
                help=f"write `hold_out = 5%` in {names}",
            )


def gate_without_held_out(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL521: a gate measures on rows that were trained."""
    recipe = recipe_of(resolved)
    for stage in recipe.stages.values():
        never = {ref.name for ref in stage.get("hold_out_tasks") or ()}
        for check in stage.checks:
            data = recipe.of_kind("data").get(check.on.name) if check.on else None
            if check.on and data and data.name in never:
                continue  # none of its rows is trained
            if check.on and data and not (check.on.hold_out and data.get("hold_out")):
                missing = "has no `hold_out`" if check.on.hold_out else "names all its rows"
                yield error(
                    "TL521",
                    "gate-on-training-data",
                    f"`{check.text}` {missing}",
                    check.span,
                    "would measure trained rows",
                    others=(Label(data.span, "declared here"),),
                    help=f"write `hold_out = 5%` in it and measure `{data.name}.hold_out`",
                )


RULES = (wrong_format, mix_not_whole, mixed_formats, no_held_out, gate_without_held_out)
