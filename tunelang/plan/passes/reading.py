"""Steps that train nothing: how many rows they read at once, and what they are predicted to need.

They run on one device: nothing that is only read is split over several.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, warning
from tunelang.estimate.inference import Read, Reading, read
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import offered
from tunelang.estimate.parameters import Architecture
from tunelang.plan.ir import Step
from tunelang.plan.machines import hardware_of, machine_of
from tunelang.plan.passes.context import Context
from tunelang.plan.schedule import CHARACTERS_PER_TOKEN
from tunelang.recipe.model import Declared
from tunelang.rules.finishing import drawn
from tunelang.rules.models import quantised

GIB = 2**30
WHOLE = ("merge", "export")  # methods that hold weights in fp32 and pass no rows


def fitted(step: Step, stage: Declared, shape: Architecture, context: Context) -> Step:
    """The step with its layout and estimate; TL701 or TL702 where it does not fit well."""
    machine = machine_of(stage, context.recipe, context.calibrations)
    if machine is None:
        return step
    found = read(work_of(step, stage, shape, context), machine)
    context.found.extend(said(step, stage, (machine, found), context))
    return alone(step, found)


def alone(step: Step, found: Read) -> Step:
    """The step as one process runs it."""
    update = {"micro": found.micro, "threads": found.threads}
    place = step.place.model_copy(update=update)
    return step.model_copy(update={"place": place, "estimate": found.estimate})


def work_of(step: Step, stage: Declared, shape: Architecture, context: Context) -> Reading:
    """What the step has to read: its models, its rows, and how much is drawn for each."""
    if step.method in WHOLE:
        return Reading(shape, 4)
    extent = context.extents.get(step.name)
    rows = (extent.rows if extent else None) or 0
    micro = stage.get("micro")
    start = context.recipe.declared.get((stage.get("model") or stage).name)
    return Reading(
        shape,
        4 if step.precision == "fp32" else 2,
        sequences=rows * (stage.get("replies") or 1),
        prompt=_prompt(step, context),
        reply=drawn(stage),
        quantised=bool(start and start.kind == "stage" and quantised(context.recipe, start)),
        micro=int(micro.amount) if micro else None,
    )


def _prompt(step: Step, context: Context) -> int:
    """Tokens of a usual row, by its text where that is known."""
    extent = context.extents.get(step.name)
    length = step.length or 0
    if extent is None or not (extent.rows and extent.characters):
        return length
    return min(length, round(extent.characters / extent.rows / CHARACTERS_PER_TOKEN) or 1)


def said(
    step: Step, stage: Declared, planned: tuple[Machine, Read], context: Context
) -> Iterator[Diagnostic]:
    """TL701 does-not-fit, TL702 tight-fit; a warning where the recipe names no hardware, as for
    what trains."""
    machine, found = planned
    if found.fits == "yes":
        return
    hardware, short = hardware_of(stage, context.recipe), found.fits == "no"
    code, rule = ("TL701", "does-not-fit") if short else ("TL702", "tight-fit")
    needs, has = found.estimate.peak / GIB, offered(machine) / GIB
    name = machine.gpu.name if machine.gpu else "this machine"
    yield (error if hardware and short else warning)(
        code,
        rule,
        f"stage `{step.name}` needs about {needs:.1f} GiB, and {name} offers {has:.1f}",
        stage.span,
        f"weights {found.estimate.terms['weights'] / GIB:.1f} (GiB)",
        others=(Label(hardware.span, "runs here"),) if hardware else (),
        help="take a larger device, or name other hardware with `on`",
    )
