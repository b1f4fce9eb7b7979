"""Rules on memory and disk that are not about fitting at all: TL711 and TL712."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace as change

from tunelang.diagnostic import Diagnostic, Label, error, hint, replace
from tunelang.estimate.disk import checkpoint_bytes, product_bytes
from tunelang.estimate.fit import fit
from tunelang.plan.checks.hardware import placed
from tunelang.plan.ir import Plan, Step
from tunelang.plan.machines import hardware_of
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.works import work_of
from tunelang.recipe.model import Declared
from tunelang.rules.edits import setting

GB = 10**9
STEP = 10  # GB to which what a disk needs is rounded up


def _product(step: Step) -> float:
    """Bytes of the weights that a step trains and saves."""
    assert step.estimate
    return product_bytes(step.estimate.trainable)


def _checkpoints(step: Step) -> float:
    """Bytes of all its checkpoints at the worst moment."""
    assert step.estimate
    return checkpoint_bytes(step.estimate.trainable, str(step.fields.get("optimizer")))


def disk_too_small(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL711: the products of all stages and the checkpoints of the largest do not fit."""
    on: dict[str, list[Step]] = defaultdict(list)
    for step, stage, _ in placed(plan, context):
        hardware = hardware_of(stage, context.recipe)
        if hardware and hardware.get("disk") and step.estimate:
            on[hardware.name].append(step)
    for name, steps in on.items():
        hardware = context.recipe.declared[name]
        largest = max(steps, key=_checkpoints)
        checkpoints = _checkpoints(largest)
        needs = sum(map(_product, steps)) + checkpoints
        if needs > hardware.get("disk").amount:
            yield _too_small(hardware, context.recipe.declared[largest.name], (needs, checkpoints))


def _too_small(hardware: Declared, largest: Declared, bytes_: tuple[float, float]) -> Diagnostic:
    needs, checkpoints = bytes_
    span = hardware.span_of("disk")
    enough = f"{int(-(-needs // (STEP * GB))) * STEP}GB"
    return error(
        "TL711",
        "disk-too-small",
        f"the stages on `{hardware.name}` write about {needs / GB:,.0f} GB, and its disk has "
        f"{hardware.get('disk').amount / GB:,.0f}",
        span,
        "too small",
        others=(Label(largest.span, f"its checkpoints take {checkpoints / GB:,.0f} GB"),),
        help=f"take a disk of {enough}, or train adapters, whose checkpoints are small",
        fix=replace(span, enough, safe=False),
    )


def needless_recompute(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL712: activations would fit without being computed twice."""
    for step, stage, machine in placed(plan, context):
        work = work_of(step, stage, context)
        if work is None or not work.recompute:
            continue
        free = fit(change(work, recompute=False), machine)
        if free and free.fits == "yes" and free.sharding == step.place.sharding:
            faster = 1 - free.estimate.seconds / step.estimate.seconds if step.estimate else 0.0
            yield hint(
                "TL712",
                "needless-recompute",
                f"`{step.name}` computes activations twice, and they would fit",
                stage.span_of("checkpointing"),
                "not needed here",
                help=f"`checkpointing = auto` would be about {faster:.0%} faster and need "
                f"{free.estimate.peak / 2**30:.1f} GiB",
                fix=setting(stage, "checkpointing", "auto"),
            )


RULES = (disk_too_small, needless_recompute)
