"""Rules on which layers train, and on the groups of a transfer: when they thaw and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

from tunelang.diagnostic import Diagnostic, Fix, error, warning
from tunelang.estimate.parameters import Architecture
from tunelang.methods.transfer import FAINT
from tunelang.plan.ir import Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.works import architecture_of
from tunelang.recipe.model import Choice, Declared
from tunelang.rules.edits import setting
from tunelang.rules.tuning import rate
from tunelang.units import number

LOWEST = 100  # a factor that is offered leaves the lowest group lr / 100


@dataclass(frozen=True)
class Depth:
    """The groups that train, from the top down: how many, and how far the lowest is below."""

    groups: int
    below: int


def no_such_layer(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL540: `layers(...)` names a layer that the model does not have."""
    for step, stage, model in known(plan, context, "layers"):
        first, final = stretch(step, model)
        if 0 <= first <= final < model.layers:
            continue
        given = stage.values["weights"]
        yield error(
            "TL540",
            "no-such-layer",
            f"`{stage.name}` trains layers that {model.name} does not have",
            stage.span_of("weights"),
            f"it has {model.layers}, 0 to {model.layers - 1}",
            help="they count from 0; `to` is the last one that trains",
            fix=setting(stage, "weights", f"layers(last = {min(2, model.layers)})")
            if given.span
            else None,
        )


def stretch(step: Step, model: Architecture) -> tuple[int, int]:
    """The first and the last layer that `layers(...)` names."""
    assert step.weights is not None
    fields = step.weights.fields
    if fields.get("last"):
        return model.layers - fields["last"], model.layers - 1
    to = fields.get("to")
    return fields.get("from") or 0, model.layers - 1 if to is None else to


def never_unfrozen(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL542: the run ends before every group that should train has begun to."""
    for step, stage, depth in deep(plan, context):
        assert step.schedule is not None
        unfreeze = step.fields["unfreeze"]
        every = max(1, int(unfreeze["every"])) if unfreeze["kind"] == "gradual" else 0
        alone = int(step.fields["probe"]) or every
        needs = alone + (every * (depth.groups - 2) if every else 0) + 1
        if depth.groups < 2 or step.schedule.steps >= needs:
            continue
        opened = 2 + (step.schedule.steps - 1 - alone) // every if every else 1
        left = depth.groups - max(1, opened)
        each = max(1, step.schedule.steps // depth.groups)
        yield warning(
            "TL542",
            "never-unfrozen",
            f"`{stage.name}` ends after {step.schedule.steps:,} steps with {left} of its "
            f"{depth.groups} groups still frozen",
            stage.span_of("unfreeze" if every else "probe"),
            f"all train from step {needs - 1:,} on",
            help=f"`unfreeze = gradual(every = {each} steps)` reaches every group, or let fewer "
            "train with `weights = layers(last = ...)`",
            fix=_sooner(stage, step, each, depth) if every else None,
        )


def _sooner(stage: Declared, step: Step, each: int, depth: Depth) -> Fix | None:
    """Groups in as even a time as the run has, where that lets all of them train."""
    assert step.schedule is not None
    if step.fields["probe"] or each * (depth.groups - 1) >= step.schedule.steps:
        return None
    return setting(stage, "unfreeze", f"gradual(every = {number(each)} steps)")


def rate_vanishes(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL543: discriminative rates are divided away before they reach the lowest group."""
    for step, stage, depth in deep(plan, context):
        factor, lr = float(step.fields["discriminative"]), step.lr or 0.0
        lowest = lr * factor**-depth.below
        if lowest >= FAINT or factor == 1:
            continue
        still = depth.below - int(log(lr / FAINT) / log(factor))
        gentle = f"{LOWEST ** (1 / depth.below):.2g}"
        yield warning(
            "TL543",
            "rate-vanishes",
            f"the lowest group of `{stage.name}` trains at {rate(lowest)}, too little to move it",
            stage.span_of("discriminative"),
            f"about {still} of {depth.groups} groups stay as they are",
            help=f"2.6 is for 4 groups; `discriminative = {gentle}` leaves the lowest group a "
            f"{LOWEST}th of lr",
            fix=setting(stage, "discriminative", gentle),
        )


def wrong_rows(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL302: classes are learnt from labelled rows, language from the others."""
    for step, stage in transfers(plan, context):
        takes = ("labelled",) if step.product == "classifier" else ("text", "instruct")
        head: Choice = stage.get("head")
        for part in step.data.parts if step.data else ():
            if part.format.kind not in takes:
                yield error(
                    "TL302",
                    "wrong-format",
                    f"`head = {head.name}` of `{stage.name}` takes "
                    f"{' or '.join(f'`{each}`' for each in takes)} rows, `{part.name}` holds "
                    f"`{part.format.kind}` rows",
                    stage.span_of("data"),
                    f"holds `{part.format.kind}` rows",
                )


def transfers(plan: Plan, context: Context) -> Iterator[tuple[Step, Declared]]:
    """The steps of transfer with their stages."""
    for step in plan.steps:
        if step.method == "transfer":
            yield step, context.recipe.declared[step.name]


def deep(plan: Plan, context: Context) -> Iterator[tuple[Step, Declared, Depth]]:
    """The steps of transfer whose groups can be counted before the run."""
    for step, stage in transfers(plan, context):
        model = architecture_of(step, context)
        if model is not None and step.weights is not None:
            yield step, stage, depth_of(step, model)


def depth_of(step: Step, model: Architecture) -> Depth:
    """The groups of `tunelang.train.groups`, counted."""
    assert step.weights is not None
    kind, classes = step.weights.kind, step.product == "classifier"
    if kind == "head":
        return Depth(1, 0)
    if kind == "layers":
        first, final = stretch(step, model)
        return Depth(final - first + 1 + classes, model.layers - first)
    if kind == "lora":
        return Depth(model.layers + classes, model.layers)
    looked_up = classes or not model.tied  # a tied matrix is of the head that speaks
    return Depth(model.layers + 1 + looked_up, model.layers + looked_up)


def known(plan: Plan, context: Context, kind: str) -> Iterator[tuple[Step, Declared, Architecture]]:
    """The steps with this kind of weights whose architecture is known."""
    for step in plan.steps:
        model = architecture_of(step, context) if step.weights else None
        if model is not None and step.weights and step.weights.kind == kind:
            yield step, context.recipe.declared[step.name], model


RULES = (no_such_layer, never_unfrozen, rate_vanishes, wrong_rows)
