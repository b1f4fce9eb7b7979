"""Rules on wordings (TL302, TL420, TL421): templates that rows are put into words with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe.model import Declared
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import dropped
from tunelang.rules.stages import data_of, format_of, stages

FIELDS = ("templates", "hold_out_templates")
PLACE = re.compile(r"\{(\w+)\}")
# What the places of a template stand for, by the format of the rows, and what must be said.
PLACES = {"instruct": ("prompt", "input"), "labelled": ("text", "options")}
MUST = {"instruct": "prompt", "labelled": "text"}


def unworded(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL302: labels without a wording, or a wording for rows that take none."""
    for recipe, stage in stages(resolved):
        if stage.method is None or "templates" not in stage.method.fields:
            continue
        for part in data_of(stage, recipe):
            form = format_of(part)
            if form == "labelled" and not stage.get("templates"):
                yield _wrong(
                    stage,
                    f"`{part.name}` holds texts and labels, and `{stage.name}` does not say how "
                    "to ask for them",
                    stage.method.data_field,
                    'write `templates = ["{text}\\nWhat is it?"]`',
                )
            elif form == "chat" and stage.get("templates"):
                yield _wrong(
                    stage,
                    f"`{part.name}` holds conversations, which `templates` cannot word",
                    "templates",
                    "leave `templates` out, or use `instruct` or `labelled` rows",
                )


def _wrong(stage: Declared, message: str, path: str, help: str) -> Diagnostic:
    return error(
        "TL302", "wrong-format", message, stage.span_of(path), "not in these words", help=help
    )


def lossy_template(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL420: a wording that leaves the row out, or names what no row has."""
    for recipe, stage in stages(resolved):
        forms = {form for part in data_of(stage, recipe) if (form := format_of(part)) in PLACES}
        for field in FIELDS:
            for template in stage.get(field) or ():
                yield from _lossy(stage, field, str(template), forms)


def _lossy(stage: Declared, field: str, template: str, forms: set[str]) -> Iterator[Diagnostic]:
    named = PLACE.findall(template)
    known = [name for form in sorted(forms or PLACES) for name in PLACES[form]]
    odd = next((name for name in named if name not in known), None)
    lost = next((MUST[form] for form in sorted(forms) if MUST[form] not in named), None)
    if odd is None and lost is None and set(MUST.values()) & set(named):
        return
    said = f"names `{{{odd}}}`, which no row has" if odd else "leaves out what the row asks"
    guess = did_you_mean(nearest(odd, known)) if odd else ""
    yield error(
        "TL420",
        "lossy-template",
        f"a template of `{stage.name}` {said}: {template!r}",
        stage.span_of(field),
        "rows would lose it",
        help=guess or f"write `{{{lost or 'prompt'}}}` into it",
    )


def wording_trained(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL421: a wording that is held out is trained too."""
    for _, stage in stages(resolved):
        trained = set(stage.get("templates") or ())
        both = [each for each in stage.get("hold_out_templates") or () if each in trained]
        if both or (stage.get("hold_out_templates") and not trained):
            message = (
                f"`{stage.name}` trains a wording that it holds out: {both[0]!r}"
                if both
                else f"`{stage.name}` holds out wordings and trains none"
            )
            yield error(
                "TL421",
                "wording-trained",
                message,
                stage.span_of("hold_out_templates"),
                "measures what was trained" if both else "nothing to compare with",
                help="a wording is either in `templates` or in `hold_out_templates`",
                fix=dropped(resolved, stage.values["hold_out_templates"]),
            )


RULES = (unworded, lossy_template, wording_trained)
