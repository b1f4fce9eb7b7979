"""Rules on what is known of a base model (TL428)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from tunelang.diagnostic import Diagnostic, hint
from tunelang.estimate.parameters import Architecture, count
from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context

SHOWN = 3  # differences that one line names


def catalogue_differs(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL428: the config.json in the hub's cache says otherwise than the catalogue."""
    for name, base in context.bases.items():
        if base.architecture is None or base.catalogued is None:
            continue
        found = list(_differences(base.architecture, base.catalogued))
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            yield hint(
                "TL428",
                "catalogue-differs",
                f"the config.json of `{base.architecture.name}` in the hub's cache is not what the "
                f"catalogue has: {', '.join(found[:SHOWN])}{more}",
                context.recipe.declared[name].span,
                f"{count(base.architecture):,} parameters, not {count(base.catalogued):,}",
                help="the plan uses the file; the catalogue is for models that are not here yet",
            )


def _differences(here: Architecture, catalogued: Architecture) -> Iterator[str]:
    """`hidden is 2048, not 4096`, field by field."""
    for field in fields(Architecture):
        one, other = getattr(here, field.name), getattr(catalogued, field.name)
        if one != other:
            plain = not isinstance(one, int | float | str) or not isinstance(other, type(one))
            yield f"{field.name} differ" if plain else f"{field.name} is {one}, not {other}"


RULES = (catalogue_differs,)
