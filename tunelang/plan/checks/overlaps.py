"""Rules on rows that meet where they should not (TL305, TL308, TL317, TL416)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from tunelang.diagnostic import Diagnostic, Label, error, hint, warning
from tunelang.plan.checks.seen import Seen, every, of_step, positions, told
from tunelang.plan.data import count, data_part
from tunelang.plan.ir import DataPart, Plan, Step
from tunelang.plan.mixing import known, mean_lengths
from tunelang.plan.passes.context import Context
from tunelang.plan.schedule import CHARACTERS_PER_TOKEN
from tunelang.plan.shares import passes
from tunelang.recipe.model import Declared
from tunelang.rules.origins import lineage
from tunelang.rules.stages import POLICIES
from tunelang.sources.probe import shared

PICTURES = ("image", "images", "pixel_values", "video", "videos")  # columns of the hub's data sets
MANY = 0.1  # of the prompts: fewer are as likely to be greetings that everybody asks


def overlapping_splits(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL305: rows to measure on are rows that the stage, or one before it, trains on."""
    steps = {step.name: step for step in plan.steps}
    for step in plan.steps:
        stage = context.recipe.declared.get(step.name)
        if stage is None or stage.kind != "stage":
            continue
        earlier = [
            steps[each.name] for each in lineage(context.recipe, stage) if each.name in steps
        ]
        trained = {seen.part.name: seen for each in earlier for seen in of_step(each, context)}
        for part, marks in _measured(step, stage, context):
            for seen in trained.values():
                both = shared(marks, seen.facts.train_marks)
                if both:
                    yield _overlap(stage, context.recipe.declared[part.name], seen, both)


def _measured(
    step: Step, stage: Declared, context: Context
) -> Iterator[tuple[DataPart, Sequence[str]]]:
    """What a stage measures on: rows set aside, `eval` data, and rows that a gate names."""
    declared = context.recipe.declared
    for part in step.data.parts if step.data else ():
        found, other = known(part), declared[part.name].get("eval")
        if found:
            yield part, found.held_marks
        whole = data_part(declared[other.name], context.recipe, []) if other else None
        facts = known(whole) if whole else None
        if whole and facts:
            yield whole, (*facts.train_marks, *facts.held_marks)
    for gate in step.gates:
        found = known(gate.measure.data) if gate.measure.data else None
        if gate.measure.data and found:
            yield gate.measure.data, found.held_marks


def _overlap(stage: Declared, measured: Declared, seen: Seen, both: int) -> Diagnostic:
    rows, verb = (f"{both:,} rows", "are") if both > 1 else ("1 row", "is")
    return error(
        "TL305",
        "overlapping-splits",
        f"`{stage.name}` measures on {rows} of `{measured.name}` that {verb} trained as "
        f"`{seen.data.name}`",
        seen.data.span_of("from"),
        f"holds {rows} of `{measured.name}`",
        others=(Label(measured.span, "measured on"),),
        help="rows are compared by their content: take them out of one of the two",
    )


def small_set_repeated(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL308: a small source of a mix is seen again and again to fill its share."""
    for step in plan.steps:
        if not (step.data and len(step.data.parts) > 1 and step.batch and step.schedule):
            continue
        sizes = [_size(part, step, context) for part in step.data.parts]
        whole = [size for size in sizes if size]
        most, lengths = step.data.repeat_at_most, mean_lengths(step.data)
        if len(whole) < len(sizes) or most is None or (step.data.by == "tokens" and not lengths):
            continue
        each = lengths or [1.0] * len(whole)
        tokens = [size * length for size, length in zip(whole, each, strict=True)]
        seen = passes(step.data, whole, tokens, step.batch.size * step.schedule.steps)
        for part, times in zip(step.data.parts, seen, strict=True):
            if times > most * 1.0001:  # a share of 33.3% is not meant to the last row
                yield _repeated(step, part, (times, most), context)


def _size(part: DataPart, step: Step, context: Context) -> int | None:
    """Sequences that one pass over a part gives, as the schedule counts them."""
    counted = count(part, context.recipe.declared[part.name], [], context.extents)
    if counted is None or not counted.train or not step.fields.get("packing"):
        return counted.train if counted else None
    if counted.characters is None or not step.length:
        return None
    return ceil((counted.characters / CHARACTERS_PER_TOKEN + counted.train) / step.length)


def _repeated(
    step: Step, part: DataPart, often: tuple[float, float], context: Context
) -> Diagnostic:
    times, most = often
    stage = context.recipe.declared[step.name]
    assert stage.method is not None
    mix = context.recipe.declared[stage.get(stage.method.data_field).name]
    share = next(each.span for ref, each in mix.parts if ref.name == part.name)
    return warning(
        "TL308",
        "small-set-repeated",
        f"`{step.name}` sees each row of `{part.name}` {times:.1f} times, `{mix.name}` allows "
        f"{most:g}",
        share or mix.span,
        "too much for its rows",
        others=(Label(context.recipe.declared[part.name].span, "has too few rows"),),
        help=f"about {most / times:.0%} of this share stays within it; or train fewer steps",
    )


def prompts_seen_in_sft(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL317: the policy is asked what it was taught the answer of."""
    steps = {step.name: step for step in plan.steps}
    for step in plan.steps:
        stage = context.recipe.declared.get(step.name)
        if stage is None or step.method not in POLICIES:
            continue
        taught = [steps[each.name] for each in lineage(context.recipe, stage) if each.name in steps]
        for asks in of_step(step, context):
            for seen in (each for one in taught[1:] for each in of_step(one, context)):
                both = shared(asks.facts.asked, seen.facts.asked)
                if asks.facts.asked and both >= MANY * len(asks.facts.asked):
                    yield _taught(asks, seen, both)


def _taught(asks: Seen, seen: Seen, both: int) -> Diagnostic:
    return hint(
        "TL317",
        "prompts-seen-in-sft",
        f"{told(both / len(asks.facts.asked))} of the prompts of `{asks.data.name}` were "
        f"taught with their answers in `{seen.stage.name}`",
        asks.data.span_of("from"),
        "asked again",
        others=(Label(seen.data.span, "taught here"),),
        help="a policy repeats what it was taught: ask what it has not seen",
    )


def text_model_for_images(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL416: rows with pictures, which no method shows to a model."""
    for seen in every(plan, context):
        held = [name for name in seen.facts.columns if name.lower() in PICTURES]
        # No method shows a model pictures, not even where it could see them (Gemma 3).
        if held and positions(seen.step, context):
            yield error(
                "TL416",
                "text-model-for-images",
                f"the rows of `{seen.data.name}` hold `{held[0]}`, and `{seen.stage.name}` "
                "teaches text only",
                seen.data.span_of("from"),
                "holds pictures",
                others=(Label(seen.stage.span, "cannot see"),),
                help="leave the column out of the file",
            )


RULES = (
    overlapping_splits,
    small_set_repeated,
    prompts_seen_in_sft,
    text_model_for_images,
)
