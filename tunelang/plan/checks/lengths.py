"""Rules on how long rows are (TL309, TL310, TL408): estimated from characters, never tokenised."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from tunelang.diagnostic import Diagnostic, Fix, Label, error, warning
from tunelang.plan.checks.seen import Seen, every, positions, told
from tunelang.plan.ir import Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.plan.schedule import CHARACTERS_PER_TOKEN
from tunelang.recipe.model import Choice, Declared
from tunelang.rules.edits import setting
from tunelang.rules.finishing import drawn
from tunelang.rules.stages import POLICIES

LOST = 0.05  # language.md, rule TL309: more than 5% of rows
# An error must hold for any tokenizer: half again as many characters a token as English has.
SURELY = 1.5 * CHARACTERS_PER_TOKEN
ROUND = 64  # lengths that are offered are multiples of this, as kernels like them


def truncation(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL309 truncation-loses-much, and TL310 cut-before-answer where nothing but prompts is left.

    Texts are split rather than cut, so nothing of them is lost.
    """
    for seen in every(plan, context):
        if seen.part.format.kind == "text" or not seen.step.length:
            continue
        if seen.step.method not in POLICIES and _without_reply(seen) >= 0.5:
            yield _cut_before_answer(seen, context)
        elif _longer(seen) > LOST:
            yield _loses_much(seen, context)


def _longer(seen: Seen) -> float:
    """The share of rows with more tokens than `length`."""
    rows = _tokens(seen)
    return sum(row > (seen.step.length or 0) for row in rows) / len(rows)


def _tokens(seen: Seen) -> list[float]:
    """Estimated tokens of the sampled rows; of a policy's rows those before the reply."""
    asked = seen.step.method in POLICIES and any(seen.facts.prompts)
    characters = seen.facts.prompts if asked else seen.facts.sequences
    return [each / CHARACTERS_PER_TOKEN for each in characters]


def _without_reply(seen: Seen) -> float:
    """The share of rows whose prompt alone fills `length`, by any tokenizer."""
    room = (seen.step.length or 0) * SURELY
    prompts = seen.facts.prompts
    return sum(prompt >= room for prompt in prompts) / len(prompts)


def _loses_much(seen: Seen, context: Context) -> Diagnostic:
    what = "left out" if seen.step.method in POLICIES else "cut"
    return warning(
        "TL309",
        "truncation-loses-much",
        f"{told(_longer(seen))} of the rows of `{seen.data.name}` are longer than "
        f"{seen.step.length:,} tokens and are {what}",
        seen.stage.span_of("length"),
        f"{what} here",
        others=(Label(seen.data.span, f"up to about {max(_tokens(seen)):,.0f} tokens"),),
        help=_advice(seen, context),
        fix=_longer_length(seen, context),
    )


def _cut_before_answer(seen: Seen, context: Context) -> Diagnostic:
    return error(
        "TL310",
        "cut-before-answer",
        f"the prompts of `{seen.data.name}` alone fill {seen.step.length:,} tokens in "
        f"{told(_without_reply(seen))} of the rows, so `{seen.stage.name}` never reads a reply",
        seen.stage.span_of("length"),
        "cut before the reply",
        others=(Label(seen.data.span, f"up to about {max(_tokens(seen)):,.0f} tokens"),),
        help=_advice(seen, context),
        fix=_longer_length(seen, context),
    )


def _enough(seen: Seen) -> int:
    """A length that cuts no more than `LOST` of the rows."""
    rows = sorted(_tokens(seen))
    return ceil((rows[ceil((1 - LOST) * len(rows)) - 1] + 1) / ROUND) * ROUND


def _advice(seen: Seen, context: Context) -> str:
    most, wanted = positions(seen.step, context), _enough(seen)
    if most and wanted > most:
        return f"the model has {most:,} positions: shorten the rows, or leave the longest out"
    return f"`length = {wanted} tokens` holds 95% of them whole"


def _longer_length(seen: Seen, context: Context) -> Fix | None:
    most, wanted = positions(seen.step, context), _enough(seen)
    fits = not most or wanted <= most
    return setting(seen.stage, "length", f"{wanted} tokens") if fits else None


def longer_than_model(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL408: rows have more tokens than the model has positions."""
    for step in plan.steps:
        stage, most = context.recipe.declared.get(step.name), positions(step, context)
        if stage is None or stage.kind != "stage" or not most or not step.length:
            continue
        reply = stage.get("rollout.reply")
        written = int(reply.amount) if reply else drawn(stage)
        if step.length + written > most * _stretch(stage):
            yield _too_long(stage, step, written, int(most * _stretch(stage)))


def _stretch(stage: Declared) -> float:
    scaling: Choice | None = stage.get("scaling")
    return float(scaling.get("factor") or 1) if scaling else 1.0


def _too_long(stage: Declared, step: Step, reply: int, most: int) -> Diagnostic:
    assert step.length
    what = f"{step.length:,} tokens and {reply:,} of reply" if reply else f"{step.length:,} tokens"
    fits = most - reply
    factor = ceil((step.length + reply) / most)
    stretch = "" if reply else f", or stretch them: `scaling = yarn(factor = {factor})`"
    return error(
        "TL408",
        "longer-than-model",
        f"rows of `{stage.name}` have up to {what}, and its model has {most:,} positions",
        stage.span_of("length"),
        f"{step.length + reply - most:,} too many",
        help=f"write `length = {fits} tokens`{stretch}" if fits > 0 else "shorten the reply",
        fix=setting(stage, "length", f"{fits} tokens") if fits > 0 else None,
    )


RULES = (truncation, longer_than_model)
