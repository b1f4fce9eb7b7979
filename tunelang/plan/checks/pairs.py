"""Rules on preference pairs (TL313, TL314): what the two replies of a row have to tell."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Fix, hint, replace, warning
from tunelang.plan.checks.seen import Seen, every
from tunelang.plan.ir import Plan
from tunelang.plan.passes.context import Context
from tunelang.recipe.model import Choice

LONGER = 1.5  # language.md, rule TL314: half again as long


def chosen_is_rejected(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL313: pairs of which neither reply is better."""
    for seen in every(plan, context):
        equal = seen.facts.equal_pairs
        if equal:
            yield warning(
                "TL313",
                "chosen-is-rejected",
                f"{equal:,} of {seen.facts.rows:,} pairs of `{seen.data.name}` have the same reply "
                "twice",
                seen.data.span_of("format") if _one_column(seen) else seen.data.span_of("from"),
                "one column twice" if _one_column(seen) else "nothing to prefer",
                help=_help(seen),
                fix=_other_column(seen),
            )


def _one_column(seen: Seen) -> str | None:
    """The column that holds both replies, None where there are two."""
    columns = seen.part.format.columns
    return columns["chosen"] if columns.get("chosen") == columns.get("rejected") else None


def _unused(seen: Seen) -> str | None:
    used = seen.part.format.columns.values()
    return next((name for name in seen.facts.columns if name not in used), None)


def _help(seen: Seen) -> str:
    if _one_column(seen):
        return f"its columns are {', '.join(seen.facts.columns)}"
    return "they teach nothing: take them out of the file"


def _other_column(seen: Seen) -> Fix | None:
    form: Choice | None = seen.data.get("format")
    span = form.values["rejected"].span if form and _one_column(seen) else None
    other = _unused(seen)
    return replace(span, f'"{other}"', safe=False) if span and other else None


def length_biased_pairs(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL314: a judge learns that longer is better."""
    for seen in every(plan, context):
        better, worse = seen.facts.chosen_characters, seen.facts.rejected_characters
        if worse and better >= LONGER * worse:
            yield hint(
                "TL314",
                "length-biased-pairs",
                f"the chosen replies of `{seen.data.name}` are {better / worse:.1f} times as long "
                "as the rejected ones",
                seen.data.span_of("from"),
                f"{better / seen.facts.rows:,.0f} characters against "
                f"{worse / seen.facts.rows:,.0f}",
                help="a judge may learn length for quality: add pairs whose better reply is short",
            )


RULES = (chosen_is_rejected, length_biased_pairs)
