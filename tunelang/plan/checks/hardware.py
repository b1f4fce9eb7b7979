"""Rules on what a device can do (TL703, TL704, TL710, TL713)."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.catalog import gpus
from tunelang.diagnostic import Diagnostic, Label, error, replace
from tunelang.estimate.machine import Machine
from tunelang.plan.ir import Plan, Step
from tunelang.plan.machines import hardware_of, machine_of
from tunelang.plan.passes.context import Context
from tunelang.recipe.model import Declared
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.rules.edits import setting

SPOKEN_WITH_A_VOWEL = "AEFHILMNORSX"  # "an H100", "a T4"


def unknown_accelerator(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL713: the catalogue has no GPU of that name."""
    for hardware in context.recipe.of_kind("hardware").values():
        name = hardware.get("gpu")
        if name is None or gpus.find(name):
            continue
        guess, span = nearest(name, gpus.names()), hardware.span_of("gpu")
        yield error(
            "TL713",
            "unknown-accelerator",
            f'no GPU named "{name}" is in the catalogue',
            span,
            "not in the catalogue",
            help=did_you_mean(guess) or "`tunelang gpus` lists what it has",
            fix=replace(span, f'"{guess}"', safe=False) if guess else None,
        )


def placed(plan: Plan, context: Context) -> Iterator[tuple[Step, Declared, Machine]]:
    """Every step that trains, its stage and the machine it is planned for."""
    for step in plan.steps:
        if not step.schedule:
            continue
        declared = context.recipe.declared[step.name]
        machine = machine_of(declared, context.recipe)
        if machine:
            yield step, declared, machine


def _named(machine: Machine) -> str:
    name = machine.gpu.name if machine.gpu else "CPU"
    return f"{'an' if name[0] in SPOKEN_WITH_A_VOWEL else 'a'} {name}"


def _runs(stage: Declared, context: Context) -> tuple[Label, ...]:
    hardware = hardware_of(stage, context.recipe)
    return (Label(hardware.span, "runs here"),) if hardware else ()


def no_bf16(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL703: the GPU has no bfloat16. A CPU without it is slow and not wrong."""
    for step, stage, machine in placed(plan, context):
        if step.precision == "bf16" and machine.kind == "gpu" and not machine.bf16:
            yield error(
                "TL703",
                "no-bf16",
                f"{_named(machine)} has no bfloat16, and `{step.name}` computes in it",
                stage.span_of("precision"),
                "not on this GPU",
                others=_runs(stage, context),
                help="write `precision = fp32`, which takes twice the memory of weights",
                fix=setting(stage, "precision", "fp32"),
            )


def no_fp8(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL704: fp8 needs Ada, Hopper or newer."""
    for step, stage, machine in placed(plan, context):
        if step.precision != "fp8" or (machine.gpu and machine.gpu.fp8):
            continue
        other = "bf16" if machine.bf16 or machine.kind == "cpu" else "fp32"
        yield error(
            "TL704",
            "no-fp8",
            f"{_named(machine)} has no fp8, and `{step.name}` computes in it",
            stage.span_of("precision"),
            "not on this device",
            others=_runs(stage, context),
            help=f"write `precision = {other}`; fp8 needs an H100 or L40S, or what came after",
            fix=setting(stage, "precision", other),
        )


def no_such_kernel(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL710: FlashAttention 2 needs an Ampere GPU or a newer one (its README)."""
    for step, stage, machine in placed(plan, context):
        if stage.get("attention") == "flash" and not (machine.gpu and machine.gpu.flash):
            yield error(
                "TL710",
                "no-such-kernel",
                f"`flash` attention does not run on {_named(machine)}, where `{step.name}` runs",
                stage.span_of("attention"),
                "not on this device",
                others=_runs(stage, context),
                help="`attention = sdpa` takes the fastest kernel that the device has",
                fix=setting(stage, "attention", "sdpa"),
            )


RULES = (unknown_accelerator, no_bf16, no_fp8, no_such_kernel)
