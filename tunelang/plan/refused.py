"""Rows that cannot be read, said at their declaration, with a fix where one is near."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, error
from tunelang.plan.ir import LOCAL, DataPart
from tunelang.recipe.model import Choice, Declared, Given
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.sources import RowError, rows
from tunelang.sources.shapes import OPTIONAL


def at(problem: RowError, declared: Declared) -> Diagnostic:
    """The row's own diagnostic, pointing at the declaration."""
    inner = problem.diagnostic
    return Diagnostic(
        inner.code,
        inner.name,
        inner.severity,
        inner.message,
        Label(declared.span_of("from"), "read from here"),
        help=inner.help,
    )


def of_part(problem: RowError, declared: Declared, part: DataPart) -> Diagnostic:
    """As `at`; a missing column is said where the recipe names it."""
    if problem.diagnostic.code != "TL301" or not isinstance(part.source, LOCAL):
        return at(problem, declared)
    first = next((tuple(values) for values, _ in rows.raw_rows(part.source)), ())
    missing = next(_missing(declared.get("format"), first), None)
    return _column(declared, missing, first) if missing else at(problem, declared)


def _missing(form: Choice | None, present: tuple[str, ...]) -> Iterator[tuple[str, Given]]:
    """Roles of a written format whose column the first row lacks."""
    for role, given in form.values.items() if form else ():
        optional = given.value == role and role in OPTIONAL.get(form.name if form else "", ())
        if given.value and given.value not in present and not optional:
            yield role, given


def _column(declared: Declared, missing: tuple[str, Given], present: tuple[str, ...]) -> Diagnostic:
    """TL301 of a written format."""
    role, given = missing
    guess = nearest(given.value, present)
    span = given.span or declared.span_of("format")
    form: Choice = declared.get("format")
    bare = span.text == form.name
    text = f'{form.name}({role} = "{guess}")' if bare else f'"{guess}"'
    mends = guess and (given.span or bare)
    return error(
        "TL301",
        "missing-column",
        f"the rows of `{declared.name}` have no column `{given.value}`",
        span,
        f"should hold `{role}`",
        help=did_you_mean(guess) or f"its columns are {', '.join(present)}",
        others=(Label(declared.span_of("from"), "read from here"),),
        fix=Fix(f"read `{guess}`", (Edit(span, text),), safe=False) if mends else None,
    )
