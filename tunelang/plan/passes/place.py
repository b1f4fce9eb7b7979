"""The place pass: where each step runs and how, and what it is predicted to need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelang.diagnostic import Fix, Label, error, warning
from tunelang.estimate import experts
from tunelang.estimate.fit import Fit, fit, offered
from tunelang.estimate.load import INT8, NF4, SINGLE
from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.remedies import Remedy, nearest
from tunelang.estimate.work import Work
from tunelang.plan.ir import Place, Plan, Step
from tunelang.plan.machines import hardware_of, machine_of
from tunelang.plan.passes import reading
from tunelang.plan.passes.context import Context
from tunelang.plan.schedule import CHARACTERS_PER_TOKEN, Extent
from tunelang.recipe import graph, kinds
from tunelang.recipe.model import Declared
from tunelang.rules.edits import setting

GIB = 2**30
MARKS = 16  # tokens that a chat template writes around a question and its reply (ChatML)
RECOMPUTE = {"always": True, "never": False}  # `auto` is planned


def place(plan: Plan, context: Context) -> Plan:
    """Every step with its place and estimate; TL701 and TL702 on the way."""
    return plan.model_copy(update={"steps": [_placed(step, context) for step in plan.steps]})


def _placed(step: Step, context: Context) -> Step:
    if not step.schedule:
        return _read(step, context)
    declared = context.recipe.declared[step.name]
    machine = machine_of(declared, context.recipe)
    work = work_of(step, declared, context)
    if machine is None or work is None:
        return step
    found = fit(work, machine)
    if found.fits != "yes":
        _memory(step, (work, machine, found), context)
    return step.model_copy(update={"place": _place(machine, found), "estimate": found.estimate})


def _read(step: Step, context: Context) -> Step:
    """A stage that trains nothing. Models are converted and made on one CPU thread, to the same
    bits anywhere."""
    stage = context.recipe.declared.get(step.name)
    shape = architecture_of(step, context)
    if stage is None or stage.kind != "stage" or shape is None:
        return step
    return reading.placed(step, stage, shape, context)


def architecture_of(step: Step, context: Context) -> Architecture | None:
    """The architecture that a step trains, None where it is not known."""
    root = graph.root_of(context.recipe, step.name)
    base = context.bases.get(root) if root else None
    return base.architecture if base else None


def work_of(step: Step, declared: Declared, context: Context) -> Work | None:
    """What a step has to do, None where its architecture is not known."""
    architecture = architecture_of(step, context)
    if architecture is None:
        return None
    assert step.schedule and step.batch and step.weights and step.length and declared.method
    micro = declared.get("micro")
    reply = declared.get("rollout.reply")
    fields = step.weights.fields
    targets = fields.get("targets", "all_linear")
    kind = kinds.weights()[step.weights.kind]
    typical = usual(step, context.extents.get(step.name), declared.method.sequences)
    return Work(
        architecture=architecture,
        method=step.method,
        weights=kind.like,
        rank=fields.get("rank", 1 if kind.adapter else 0),
        targets="all_linear" if targets == "all_linear" else tuple(targets),
        batch=step.batch.size,
        length=step.length,
        mean_length=typical,
        precision=step.precision,
        steps=step.schedule.steps,
        prompt=typical if reply else 0,
        reply=int(reply.amount) if reply else 0,
        epochs=declared.get("rollout.epochs") or 1,
        frozen=1 + ("reward" in step.inputs),
        critic="value" in step.fields,
        texts=_texts(step, declared),
        rows=declared.method.sequences,
        masters=fields.get("masters") != "none",
        held=_held(fields),
        micro=int(micro.amount) if micro else None,
        recompute=RECOMPUTE.get(str(declared.get("checkpointing"))),
        share=experts.share(fields) if kind.like == "experts" else 0.0,
    )


def _texts(step: Step, declared: Declared) -> int:
    """Tokens of the texts that all updates of an iteration read, each as long as a row may be."""
    if step.pretraining is None:
        return 0
    updates = declared.get("rollout.epochs") * declared.get("rollout.minibatches")
    longest = (step.length or 0) + int(declared.get("rollout.reply").amount)
    return int(declared.get("pretraining.batch").amount) * longest * int(updates)


def usual(step: Step, extent: Extent | None, each: int) -> int:
    """Tokens of a usual row: packed ones are full, others as long as their text and marks."""
    assert step.length
    if step.fields.get("packing") or extent is None or not (extent.rows and extent.characters):
        return step.length
    tokens = extent.characters / (extent.rows * each) / CHARACTERS_PER_TOKEN
    return min(step.length, round(tokens) + MARKS)


def _held(fields: Mapping[str, Any]) -> float:
    """Bytes of a weight that `qlora(...)` holds."""
    if fields.get("bits") == 8:
        return INT8
    return NF4 if fields.get("double_quant", True) else SINGLE


def _place(machine: Machine, found: Fit) -> Place:
    gpu = machine.gpu.name if machine.gpu else None
    return Place(
        device="cuda" if machine.kind == "gpu" else "cpu",
        gpu=gpu,
        gpus=machine.count if gpu else 0,
        processes=machine.count,
        threads=found.threads,
        micro=found.micro,
        accumulate=found.accumulate,
        checkpointing=found.checkpointing,
        sharding=found.sharding,
        launcher=found.launcher,
    )


def _memory(step: Step, planned: tuple[Work, Machine, Fit], context: Context) -> None:
    """TL701 does-not-fit and TL702 tight-fit."""
    work, machine, found = planned
    declared = context.recipe.declared[step.name]
    needs = f"stage `{step.name}` needs about {found.estimate.peak / GIB:.1f} GiB"
    message = f"{needs} per device, {_offered(machine)}"
    hardware = hardware_of(declared, context.recipe)
    others = (Label(hardware.span, "runs here"),) if hardware else ()
    code, name = ("TL701", "does-not-fit") if found.fits == "no" else ("TL702", "tight-fit")
    # A recipe that names no hardware may be meant for another machine than the one it is read on.
    make = error if found.fits == "no" and hardware else warning
    elsewhere = "" if hardware else "; name other hardware with `on`"
    remedy = nearest(work, machine)
    help = _advice(step, remedy) + elsewhere
    fix = _fix(step, declared, remedy)
    label = f"{_parts(found)} (GiB)"
    context.found.append(
        make(code, name, message, declared.span, label, others=others, help=help, fix=fix)
    )


def _offered(machine: Machine) -> str:
    has = machine.usable / GIB
    if machine.gpu:
        return f"{machine.gpu.name} has {has:.1f}"
    return f"and may take {offered(machine) / GIB:.1f} of this machine's {has:.1f}"


def _parts(found: Fit) -> str:
    terms = found.estimate.terms
    outside = found.estimate.peak - found.estimate.allocated
    return ", ".join(
        f"{name} {size / GIB:.1f}" for name, size in {**terms, "outside": outside}.items()
    )


def _written(step: Step, remedy: Remedy) -> str:
    """The remedy's value as a recipe writes it."""
    nouns = {"length": "tokens", "micro": step.batch.noun if step.batch else ""}
    return f"{remedy.value} {nouns.get(remedy.field, '')}".strip()


def _advice(step: Step, remedy: Remedy) -> str:
    needs = f"`{remedy.field} = {_written(step, remedy)}` would need {remedy.peak / GIB:.1f} GiB"
    return needs if remedy.fits else f"{needs}; else it takes a larger device, or more of them"


def _fix(step: Step, declared: Declared, remedy: Remedy) -> Fix | None:
    if not remedy.fits:
        return None
    return setting(declared, remedy.field, _written(step, remedy))
