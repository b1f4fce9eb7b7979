"""Rules on what shares come to (TL324): the loss is over tokens, whatever is shared."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, warning
from tunelang.plan.ir import Plan
from tunelang.plan.mixing import Shared, mean_lengths, shared
from tunelang.plan.passes.context import Context
from tunelang.recipe.model import Declared
from tunelang.rules.edits import setting

APART = 2.0  # methods.md L30: 0.5 and 0.5 of rows 10 and 100 long are 0.09 and 0.91 of the tokens


def shares_by_rows(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL324: shares of rows, of parts whose rows are of very different lengths."""
    for step in plan.steps:
        stage = context.recipe.declared.get(step.name)
        lengths = mean_lengths(step.data) if step.data and len(step.data.parts) > 1 else None
        if stage is None or stage.method is None or lengths is None:
            continue
        ref = stage.get(stage.method.data_field)
        mix = context.recipe.declared.get(ref.name) if ref else None
        if mix is None or mix.kind != "mix" or not mix.values["by"].is_default:
            continue
        if max(lengths) > APART * min(lengths):
            parts = shared(step)
            longest = max(parts, key=lambda part: part.tokens / part.rows)
            yield _found(mix, longest, max(lengths) / min(lengths))


def _found(mix: Declared, longest: Shared, apart: float) -> Diagnostic:
    given = next((share for ref, share in mix.parts if ref.name == longest.name), None)
    return warning(
        "TL324",
        "shares-by-rows",
        f"`{mix.name}` shares rows, and those of `{longest.name}` are up to {apart:.1f} times as "
        f"long as others: {longest.rows:.0%} of the rows are about {longest.tokens:.0%} of the "
        "trained tokens",
        given.span if given and given.span else mix.span,
        "more than its share",
        help="`by = tokens` shares what the loss counts; `by = rows` says that rows are meant",
        fix=setting(mix, "by", "tokens"),
    )


RULES = (shares_by_rows,)
