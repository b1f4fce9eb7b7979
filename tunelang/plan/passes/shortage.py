"""What is said where a step does not fit: TL701, TL702, TL714, and the smallest changes."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Fix, Label, error, warning
from tunelang.estimate import able
from tunelang.estimate.fit import Fit, part_of
from tunelang.estimate.machine import Machine
from tunelang.estimate.needs import offered
from tunelang.estimate.remedies import Remedy, remedies
from tunelang.estimate.reserve import ACCEPT
from tunelang.estimate.ways import impossible
from tunelang.estimate.work import Work
from tunelang.plan.ir import Step
from tunelang.plan.machines import hardware_of
from tunelang.plan.passes.context import Context
from tunelang.recipe.model import Declared
from tunelang.rules.edits import setting

GIB = 2**30
TOLD = 5  # remedies in a help: more are no longer read

Planned = tuple[Work, Machine, Fit | None]


def said(step: Step, planned: Planned, context: Context) -> Iterator[Diagnostic]:
    """At most one finding: no way at all, too much, or nearly too much."""
    work, machine, found = planned
    if found is None:
        declared = context.recipe.declared[step.name]
        yield from _cannot(declared, impossible(work, machine))
    elif found.fits != "yes":
        yield _memory(step, (work, machine, found), context)


def _cannot(declared: Declared, why: str) -> Iterator[Diagnostic]:
    """TL714: what `parallel` asks for is nothing that this version can do."""
    if why:
        field = "offload" if declared.get("parallel.offload") not in (None, "auto") else "sharding"
        help = f"`{field} = auto` takes what can"
        if declared.get(f"parallel.{field}") in (None, "auto"):
            help = "without `launcher` the plan takes one that can"
        yield error(
            "TL714",
            "backend-cannot",
            f"`{declared.name}` cannot be shared out so: {why}",
            declared.span_of(f"parallel.{field}"),
            "cannot be done",
            help=help,
        )


def _memory(step: Step, planned: tuple[Work, Machine, Fit], context: Context) -> Diagnostic:
    """TL701 does-not-fit and TL702 tight-fit."""
    work, machine, found = planned
    declared = context.recipe.declared[step.name]
    hardware = hardware_of(declared, context.recipe)
    code, name = ("TL701", "does-not-fit") if found.fits == "no" else ("TL702", "tight-fit")
    # A recipe that names no hardware may be meant for another machine than the one it is read on.
    make = error if found.fits == "no" and hardware else warning
    changes = remedies(work, machine)
    per = "device" if machine.devices == 1 or machine.gpu else "process"
    needs = f"stage `{step.name}` needs about {found.estimate.peak / GIB:.1f} GiB"
    return make(
        code,
        name,
        f"{needs} per {per}, {_offered(part_of(work, machine))}",
        declared.span,
        f"{_parts(found)} (GiB)",
        others=(Label(hardware.span, "runs here"),) if hardware else (),
        help=_advice(step, (work, machine, found), changes) + _elsewhere(hardware),
        fix=next(filter(None, (_fix(step, declared, each) for each in changes)), None),
    )


def _elsewhere(hardware: Declared | None) -> str:
    return "" if hardware else "; name other hardware with `on`"


def _offered(machine: Machine) -> str:
    has = machine.usable / GIB
    if machine.gpu:
        return f"{machine.gpu.name} has {has:.1f}"
    whose = "this machine's" if machine.devices == 1 else "its share of memory,"
    return f"and may take {offered(machine) / GIB:.1f} of {whose} {has:.1f}"


def _parts(found: Fit) -> str:
    terms = found.estimate.terms
    outside = found.estimate.peak - found.estimate.allocated
    return ", ".join(
        f"{name} {size / GIB:.1f}" for name, size in {**terms, "outside": outside}.items()
    )


def _advice(step: Step, planned: tuple[Work, Machine, Fit], changes: list[Remedy]) -> str:
    """By how much it is short, and what would fit instead, the smallest change first."""
    work, machine, found = planned
    short = (found.estimate.peak - ACCEPT * offered(part_of(work, machine))) / GIB
    # More than 85 % is too much to count on; what is asked for is less.
    lacks = f"{short:.1f} GiB too much" if found.fits == "no" else f"{short:.1f} GiB above 85%"
    alone = able.alone(work.method, work.kind or work.weights) if machine.devices > 1 else ""
    said = "; ".join(filter(None, (lacks, alone)))
    fitting = [each for each in changes if each.fits][:TOLD]
    if fitting:
        first, *others = (_told(step, each, machine) for each in fitting)
        return f"{said}: {', or '.join([first, *others])}"
    nearest = [f"even {_told(step, each, machine)} would not do" for each in changes[:1]]
    return "; ".join([said, *nearest, "it takes a larger device, or more of them"])


def _told(step: Step, remedy: Remedy, machine: Machine) -> str:
    """`length = 1024 tokens` (20.3 GiB)."""
    how = f"{remedy.how}, " if remedy.how and machine.devices == 1 else ""
    also = f" with `{remedy.also}`" if remedy.also else ""
    return f"`{remedy.field} = {_written(step, remedy)}`{also} ({how}{remedy.peak / GIB:.1f} GiB)"


def _written(step: Step, remedy: Remedy) -> str:
    """The remedy's value as a recipe writes it."""
    if remedy.field == "gpu":
        return f'"{remedy.value}"'
    nouns = {"length": "tokens", "micro": step.batch.noun if step.batch else ""}
    return f"{remedy.value} {nouns.get(remedy.field, '')}".strip()


def _fix(step: Step, declared: Declared, remedy: Remedy) -> Fix | None:
    """Where it runs is for people to change: another device has another price."""
    if not remedy.fits or remedy.hardware or remedy.also:
        return None
    return setting(declared, remedy.field, _written(step, remedy))
