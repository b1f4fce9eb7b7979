"""`tunelang estimate`: memory and time of one training step, without a recipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunelang.cli import asking
from tunelang.cli.planning import leave, show_findings
from tunelang.diagnostic import Diagnostic

if TYPE_CHECKING:
    from tunelang.estimate.asked import Asked
    from tunelang.estimate.machine import Machine
    from tunelang.plan.named import Named

KEPT = (  # options that are fields of the question as they are
    *("method", "weights", "rank", "length", "micro", "accumulate", "checkpointing", "loss"),
    *("optimizer", "precision", "sharding", "offload", "share", "last", "stack"),
)


def estimate(
    model: Annotated[str, typer.Option(help="A hub id, a config.json, a folder or a GGUF file.")],
    method: Annotated[str, typer.Option(help="sft, reward, dpo, ppo or grpo.")] = "sft",
    weights: Annotated[
        str, typer.Option(help="full, lora, qlora, dora, layers or experts.")
    ] = "full",
    rank: Annotated[int | None, typer.Option(help="Of adapters; else 16.")] = None,
    targets: Annotated[
        str | None, typer.Option(help="Layers with adapters: q_proj,v_proj; else all_linear.")
    ] = None,
    last: Annotated[
        int | None, typer.Option(help="How many of the last layers train; else 1.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Of each block's experts, which train; else 1.")
    ] = None,
    length: Annotated[int, typer.Option(help="Tokens of a row, prompt and reply.")] = 2048,
    reply: Annotated[
        int | None, typer.Option(help="Tokens of it that a policy writes; else half.")
    ] = None,
    micro: Annotated[int, typer.Option(help="Rows at once on a device.")] = 1,
    accumulate: Annotated[int, typer.Option(help="Micro-batches an update.")] = 1,
    checkpointing: Annotated[bool, typer.Option(help="Compute activations twice.")] = False,
    loss: Annotated[
        str | None, typer.Option(help="plain, chunked or fused; else what the stack does.")
    ] = None,
    optimizer: Annotated[str, typer.Option(help="adamw, adamw_8bit and others.")] = "adamw",
    precision: Annotated[str, typer.Option(help="bf16 or fp32.")] = "bf16",
    masters: Annotated[
        str | None, typer.Option(help="fp32 or none: weights beside bf16; else the stack's.")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="Of the catalogue; else this machine.")] = None,
    gpus: Annotated[int, typer.Option(help="Devices of a machine.")] = 1,
    nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
    sharding: Annotated[
        str | None, typer.Option(help="none, ddp, zero1, zero2, zero3 or fsdp2.")
    ] = None,
    offload: Annotated[str, typer.Option(help="none, optimizer or all.")] = "none",
    stack: Annotated[
        str | None, typer.Option(help="Whose code runs: a record of the catalogue.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Say what one training step needs: memory by phase and term, time, and whether it fits."""
    options = dict(locals())
    asked, named = _asked(options)
    from tunelang.estimate.asked import figures
    from tunelang.plan.estimated import Told, record, screen

    told = Told(asked, figures(asked), named.architecture.name, named.origin)
    if json:
        from json import dumps

        sys.stdout.write(dumps(record(told), indent=2) + "\n")
    else:
        from tunelang.output import coloured

        sys.stdout.write(screen(told, colour=coloured(sys.stdout)))


def _asked(options: dict[str, Any]) -> tuple[Asked, Named]:
    """What the options come to; each that is wrong is shown, and the command ends."""
    from tunelang.estimate.asked import POLICIES, Asked
    from tunelang.plan.named import named

    found = [*asking.without_effect(options)]
    _defaults(options)
    model, machine = named(options["model"]), _machine(options)
    found += [each for each in (model, machine) if isinstance(each, Diagnostic)]
    found += [*asking.words(options), *asking.numbers(options), *asking.together(options)]
    if not isinstance(model, Diagnostic):
        found += asking.targets(options, model)
    show_findings(found)
    leave(found)
    assert not isinstance(model, Diagnostic) and not isinstance(machine, Diagnostic)
    fields = {name: options[name] for name in KEPT}
    names = options["targets"]
    fields["targets"] = names if names == "all_linear" else tuple(names.split(","))
    fields["reply"] = options["reply"] if options["method"] in POLICIES else 0
    fields["masters"] = options["masters"] == "fp32" and options["precision"] != "fp32"
    return Asked(architecture=model.architecture, machine=machine, **fields), model


def _defaults(options: dict[str, Any]) -> None:
    """What follows from other options: our worker cuts its loss and keeps fp32 masters."""
    from tunelang.catalog import stacks

    usual = {"stack": stacks.OURS, "rank": 16, "targets": "all_linear", "last": 1, "share": 1.0}
    usual["reply"] = options["length"] // 2
    options |= {name: word for name, word in usual.items() if options[name] is None}
    ours, several = options["stack"] == stacks.OURS, options["gpus"] * options["nodes"] > 1
    options["loss"] = options["loss"] or ("chunked" if ours else "plain")
    kept = "fp32" if ours and options["weights"] in ("full", "layers") else "none"
    options["masters"] = options["masters"] or kept
    options["sharding"] = options["sharding"] or ("ddp" if several else "none")


def _machine(options: dict[str, Any]) -> Machine | Diagnostic:
    """So many devices of that kind, with what was measured on it."""
    from dataclasses import replace

    from tunelang.catalog import gpus
    from tunelang.estimate.machine import Machine, machine_here
    from tunelang.run.calibrations import known
    from tunelang.run.store import default_home

    measured, number = known(default_home()), max(1, options["gpus"])
    if options["gpu"] is None:
        here = machine_here()
        name = here.gpu.name if here.gpu else "cpu"
        here = replace(here, calibration=measured.get(name), nodes=max(1, options["nodes"]))
        return replace(here, count=number) if here.gpu else _parted(here, number)
    gpu = gpus.find(options["gpu"])
    if gpu is None:
        return asking.unknown("TL713", "unknown-accelerator", "GPU", options["gpu"], gpus.names())
    return Machine(
        kind="gpu",
        gpu=gpu,
        count=number,
        memory=gpu.memory,
        usable=gpu.usable,
        cores=1,
        price=None,
        bf16=gpu.bf16,
        nodes=max(1, options["nodes"]),
        calibration=measured.get(gpu.name),
    )


def _parted(here: Machine, number: int) -> Machine:
    """A CPU's processes share its memory and its cores."""
    from dataclasses import replace

    cores, memory, usable = here.cores // number, here.memory // number, here.usable // number
    return replace(here, count=number, cores=max(1, cores), memory=memory, usable=usable)
