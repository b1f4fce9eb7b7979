"""The place pass: where each step runs and how, and what it is predicted to need."""

from __future__ import annotations

from tunelang.catalog import gpus
from tunelang.diagnostic import Label, error, replace, warning
from tunelang.estimate.fit import Fit, fit
from tunelang.estimate.machine import Machine, machine_here
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.work import Work
from tunelang.plan.ir import Place, Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.plan.schedule import CHARACTERS_PER_TOKEN, Extent
from tunelang.recipe import graph
from tunelang.recipe.model import Declared
from tunelang.recipe.names import did_you_mean, nearest

GIB = 2**30
# Share of a usable memory that a named amount of memory leaves to tensors (planner.md: an 80 GB
# H100 offers about 78 GiB, of which the CUDA context takes about 1).
USABLE = 0.97
MARKS = 16  # tokens that a chat template writes around a question and its reply (ChatML)


def place(plan: Plan, context: Context) -> Plan:
    """Every step with its place and estimate; TL701, TL702, TL703 and TL713 on the way."""
    return plan.model_copy(update={"steps": [_placed(step, context) for step in plan.steps]})


def _placed(step: Step, context: Context) -> Step:
    if not step.schedule:
        return step  # models are converted and made on one CPU thread, to the same bits anywhere
    declared = context.recipe.declared[step.name]
    machine = _machine(declared, context)
    architecture = _architecture(step, context)
    if machine is None or architecture is None:
        return step
    _capable(step, declared, machine, context)
    work = _work(step, declared, architecture, context.extents.get(step.name))
    found = fit(work, machine)
    _memory(step, declared, found, (machine, context))
    return step.model_copy(update={"place": _place(machine, found), "estimate": found.estimate})


def _architecture(step: Step, context: Context) -> Architecture | None:
    root = graph.root_of(context.recipe, step.name)
    base = context.bases.get(root) if root else None
    return base.architecture if base else None


def _machine(declared: Declared, context: Context) -> Machine | None:
    """The hardware that the stage names, else this machine."""
    ref = declared.get("on")
    hardware = context.recipe.declared.get(ref.name) if ref else None
    if hardware is None:
        return machine_here()
    name = hardware.get("gpu")
    memory = hardware.get("memory")
    if name is None:
        here = machine_here()
        size = int(memory.amount) if memory else here.memory
        cores = hardware.get("cores") or here.cores
        return Machine(
            kind="cpu",
            gpu=None,
            count=1,
            memory=size,
            usable=size,
            cores=cores,
            price=_price(hardware),
            bf16=here.bf16,
        )
    gpu = gpus.find(name)
    if gpu is None:
        _unknown_gpu(hardware, name, context)
        return None
    size = int(memory.amount) if memory else gpu.memory
    usable = int(size * USABLE) if memory else gpu.usable
    return Machine(
        kind="gpu",
        gpu=gpu,
        count=hardware.get("count"),
        memory=size,
        usable=min(usable, gpu.usable),
        cores=1,
        price=_price(hardware),
        bf16=gpu.bf16,
    )


def _price(hardware: Declared) -> float | None:
    price = hardware.get("price")
    return float(price.amount) if price else None


def _unknown_gpu(hardware: Declared, name: str, context: Context) -> None:
    guess = nearest(name, gpus.names())
    span = hardware.span_of("gpu")
    problem = error(
        "TL713",
        "unknown-accelerator",
        f'no GPU named "{name}" is in the catalogue',
        span,
        "not in the catalogue",
        help=did_you_mean(guess) or f"it has {', '.join(gpus.names())}",
        fix=replace(span, f'"{guess}"', safe=False) if guess else None,
    )
    if problem not in context.found:
        context.found.append(problem)


def _capable(step: Step, declared: Declared, machine: Machine, context: Context) -> None:
    if step.precision == "bf16" and machine.kind == "gpu" and not machine.bf16 and machine.gpu:
        span = declared.span_of("precision")
        context.found.append(
            error(
                "TL703",
                "no-bf16",
                f"a {machine.gpu.name} has no bfloat16, and `{step.name}` computes in it",
                span,
                "not on this GPU",
                help="write `precision = fp32`",
            )
        )


def _work(
    step: Step, declared: Declared, architecture: Architecture, extent: Extent | None
) -> Work:
    assert step.schedule and step.batch and step.weights and step.length
    micro = declared.get("micro")
    reply = declared.get("rollout.reply")
    fields = step.weights.fields
    typical = _typical(step, extent)
    return Work(
        architecture=architecture,
        method=step.method,
        weights=step.weights.kind,
        rank=fields.get("rank", 0),
        targets=fields.get("targets", "all_linear"),
        batch=step.batch.size,
        length=step.length,
        mean_length=typical,
        precision=step.precision,
        steps=step.schedule.steps,
        prompt=typical if reply else 0,
        reply=int(reply.amount) if reply else 0,
        epochs=declared.get("rollout.epochs") or 1,
        micro=int(micro.amount) if micro else None,
    )


def _typical(step: Step, extent: Extent | None) -> int:
    """Tokens of a usual row: packed ones are full, others as long as their text and marks."""
    assert step.length
    if step.fields.get("packing") or extent is None or not (extent.rows and extent.characters):
        return step.length
    sequences = extent.rows * (2 if step.product == "reward" else 1)
    tokens = extent.characters / sequences / CHARACTERS_PER_TOKEN
    return min(step.length, round(tokens) + MARKS)


def _place(machine: Machine, found: Fit) -> Place:
    gpu = machine.gpu.name if machine.gpu else None
    return Place(
        device="cuda" if machine.kind == "gpu" else "cpu",
        gpu=gpu,
        gpus=machine.count if gpu else 0,
        threads=found.threads,
        micro=found.micro,
        accumulate=found.accumulate,
        checkpointing=found.checkpointing,
        sharding=found.sharding,
        launcher=found.launcher,
    )


def _memory(step: Step, declared: Declared, found: Fit, where: tuple[Machine, Context]) -> None:
    """TL701 does-not-fit and TL702 tight-fit."""
    machine, context = where
    if found.fits == "yes":
        return
    needs, has = found.estimate.peak / GIB, machine.usable / GIB
    device = machine.gpu.name if machine.gpu else "this machine"
    message = f"stage `{step.name}` needs about {needs:.1f} GiB per device, {device} has {has:.1f}"
    parts = found.estimate
    detail = ", ".join(
        f"{name} {size / GIB:.1f}"
        for name, size in (
            ("weights", parts.weights),
            ("gradients", parts.gradients),
            ("optimiser", parts.optimiser),
            ("activations", parts.activations),
            ("other", parts.other),
        )
    )
    hardware = declared.get("on")
    others = (Label(context.recipe.declared[hardware.name].span, "runs here"),) if hardware else ()
    code, name = ("TL701", "does-not-fit") if found.fits == "no" else ("TL702", "tight-fit")
    # A recipe that names no hardware may be meant for another machine than the one it is read on.
    make = error if found.fits == "no" and hardware else warning
    elsewhere = "" if hardware else "; name other hardware with `on`"
    help = (found.advice or "it may run out of memory") + elsewhere
    context.found.append(
        make(code, name, message, declared.span, f"{detail} (GiB)", others=others, help=help)
    )
