"""Rules on wordings (TL302, TL420, TL421): templates that the rows of a data set are put into.

Of a format that is recognised, `plan.checks.wordings` says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe.model import Declared
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import dropped
from tunelang.rules.stages import format_of, recipe_of

FIELDS = ("templates", "hold_out_templates")
PLACE = re.compile(r"\{(\w+)\}")
# What the places of a template stand for, by the format of the rows; the first must be said.
PLACES = {"instruct": ("prompt", "input"), "labelled": ("text", "options")}


def wordings(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL302 and TL420 of data sets whose format is written."""
    for data in recipe_of(resolved).of_kind("data").values():
        form = format_of(data)
        if form:
            yield from of_rows(data, form)


def of_rows(data: Declared, form: str) -> Iterator[Diagnostic]:
    """What is wrong with the wordings of a data set whose rows are of this format."""
    fields = [field for field in (*FIELDS, "labels") if data.get(field)]
    if form not in PLACES and fields:
        yield _wrong(
            data,
            f"`{data.name}` holds `{form}` rows, which `{fields[0]}` cannot word",
            fields[0],
            f"leave `{fields[0]}` out, or use `instruct` or `labelled` rows",
        )
    elif fields == ["labels"]:
        yield _wrong(
            data,
            f"`{data.name}` has words for its labels, and no template that they answer",
            "labels",
            'write `templates = ["{text}\\nWhat is it?"]`',
        )
    elif form in PLACES:
        yield from _lossy(data, form)


def _wrong(data: Declared, message: str, path: str, help: str) -> Diagnostic:
    return error(
        "TL302", "wrong-format", message, data.span_of(path), "not in these words", help=help
    )


def _lossy(data: Declared, form: str) -> Iterator[Diagnostic]:
    """TL420: a wording that leaves the row out, or names what no row has."""
    for field in FIELDS:
        for template in data.get(field) or ():
            said, help = _trouble(PLACE.findall(template), form, bool(data.get("labels")))
            if said:
                yield error(
                    "TL420",
                    "lossy-template",
                    f"a template of `{data.name}` {said}: {str(template)!r}",
                    data.span_of(field),
                    "rows would lose it",
                    help=help,
                )


def _trouble(named: list[str], form: str, labels: bool) -> tuple[str, str]:
    """What is wrong with a template that names these places, and what mends it."""
    known = PLACES[form]
    odd = next((name for name in named if name not in known), None)
    if odd:
        places = " and ".join(f"`{{{name}}}`" for name in known)
        guess = did_you_mean(nearest(odd, known))
        return f"names `{{{odd}}}`, which no row has", guess or f"`{form}` rows have {places}"
    if known[0] not in named:
        return "leaves out what the row asks", f"write `{{{known[0]}}}` into it"
    if "options" in named and not labels:
        return "lists `{options}`, and there are none", 'name them: `labels = ["no", "yes"]`'
    return "", ""


def wording_trained(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL421: a wording that is held out is trained too."""
    for data in recipe_of(resolved).of_kind("data").values():
        trained = set(data.get("templates") or ())
        both = [each for each in data.get("hold_out_templates") or () if each in trained]
        if both or (data.get("hold_out_templates") and not trained):
            message = (
                f"`{data.name}` has a wording that is trained and held out: {both[0]!r}"
                if both
                else f"`{data.name}` holds out wordings and trains none"
            )
            yield error(
                "TL421",
                "wording-trained",
                message,
                data.span_of("hold_out_templates"),
                "measures what was trained" if both else "nothing to compare with",
                help="a wording is either in `templates` or in `hold_out_templates`",
                fix=dropped(resolved, data.values["hold_out_templates"]),
            )


RULES = (wordings, wording_trained)
