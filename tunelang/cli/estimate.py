"""`tunelang estimate`: memory and time of one training step, without a recipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunelang.cli.planning import leave, show_findings
from tunelang.diagnostic import Diagnostic, error

if TYPE_CHECKING:
    from tunelang.estimate.asked import Asked
    from tunelang.estimate.machine import Machine
    from tunelang.plan.named import Named

WORDS: dict[str, tuple[str, ...]] = {
    "method": ("sft", "reward", "dpo", "ppo", "grpo"),
    "weights": ("full", "lora", "qlora", "dora", "layers", "experts"),
    "loss": ("plain", "chunked", "fused"),
    "precision": ("bf16", "fp32"),
    "masters": ("fp32", "none"),
    "sharding": ("none", "ddp", "zero1", "zero2", "zero3", "fsdp2"),
    "offload": ("none", "optimizer", "all"),
}
KEPT = (  # options that are fields of the question as they are
    *("method", "weights", "rank", "length", "micro", "accumulate", "checkpointing", "loss"),
    *("optimizer", "precision", "sharding", "offload", "share", "stack"),
)
POSITIVE = ("rank", "length", "micro", "accumulate", "gpus", "nodes")


def estimate(
    model: Annotated[str, typer.Option(help="A hub id, a config.json, a folder or a GGUF file.")],
    method: Annotated[str, typer.Option(help="sft, reward, dpo, ppo or grpo.")] = "sft",
    weights: Annotated[
        str, typer.Option(help="full, lora, qlora, dora, layers or experts.")
    ] = "full",
    rank: Annotated[int, typer.Option(help="Of the adapters.")] = 16,
    targets: Annotated[
        str, typer.Option(help="all_linear, or names of layers: q_proj,v_proj.")
    ] = "all_linear",
    share: Annotated[float, typer.Option(help="Of the routed experts, for experts.")] = 1.0,
    length: Annotated[int, typer.Option(help="Tokens of a row, prompt and reply.")] = 2048,
    reply: Annotated[int, typer.Option(help="Tokens of it that a policy writes; 0: half.")] = 0,
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
    from tunelang.estimate.asked import Asked
    from tunelang.plan.named import named

    _defaults(options)
    model, machine = named(options["model"]), _machine(options)
    found = [each for each in (model, machine) if isinstance(each, Diagnostic)]
    found += [*_words(options), *_numbers(options), *_together(options)]
    if not isinstance(model, Diagnostic):
        found += _targets(options, model)
    show_findings(found)
    leave(found)
    assert not isinstance(model, Diagnostic) and not isinstance(machine, Diagnostic)
    fields = {name: options[name] for name in KEPT}
    names = options["targets"]
    fields["targets"] = names if names == "all_linear" else tuple(names.split(","))
    half = options["reply"] or options["length"] // 2
    fields["reply"] = half if options["method"] in ("ppo", "grpo") else 0
    fields["masters"] = options["masters"] == "fp32" and options["precision"] != "fp32"
    return Asked(architecture=model.architecture, machine=machine, **fields), model


def _defaults(options: dict[str, Any]) -> None:
    """What follows from other options: our worker cuts its loss and keeps fp32 masters."""
    from tunelang.catalog import stacks

    options["stack"] = options["stack"] or stacks.OURS
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
        return _unknown("TL713", "unknown-accelerator", "GPU", options["gpu"], gpus.names())
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


def _unknown(code: str, name: str, what: str, word: str, known: tuple[str, ...]) -> Diagnostic:
    from tunelang.recipe.names import nearest

    guess = nearest(word, known)
    help = f"did you mean `{guess}`?" if guess else f"there are {', '.join(known)}"
    return error(code, name, f"no {what} named `{word}` is in the catalogue", None, help=help)


def _words(options: dict[str, Any]) -> Iterator[Diagnostic]:
    from tunelang.catalog import stacks
    from tunelang.estimate.asked import OPTIMIZERS

    for name, words in {**WORDS, "optimizer": OPTIMIZERS}.items():
        if options[name] not in words:
            help = f"it is one of {', '.join(words)}"
            message = f"`--{name} {options[name]}` is not known"
            yield error("TL210", "not-one-of", message, None, help=help)
    if options["stack"] not in stacks.names():
        yield _unknown("TL101", "unknown-name", "stack", options["stack"], stacks.names())


def _numbers(options: dict[str, Any]) -> Iterator[Diagnostic]:
    for name in POSITIVE:
        if options[name] < 1:
            yield _range(f"`--{name} {options[name]}` is no count", "it is 1 or more")
    if not 0 < options["share"] <= 1:
        yield _range(f"`--share {options['share']:g}` is no share", "it is above 0, at most 1")
    if not 0 <= options["reply"] < max(1, options["length"]):
        message = f"a reply of {options['reply']} tokens leaves no room for a prompt"
        yield _range(message, f"a row has {options['length']} tokens")


def _range(message: str, help: str) -> Diagnostic:
    return error("TL206", "out-of-range", message, None, help=help)


def _together(options: dict[str, Any]) -> Iterator[Diagnostic]:
    """Options that do not go with each other."""
    from tunelang.estimate import able

    sharding, offload = options["sharding"], options["offload"]
    if options["gpus"] * options["nodes"] > 1 and sharding == "none":
        yield _range("several devices share a step in some way", "name one with `--sharding`")
    if sharding in WORDS["sharding"] and offload in WORDS["offload"]:
        can = able.offloads(sharding)
        if offload not in can:
            yield _range(f"`{sharding}` offloads {' or '.join(can)}, not `{offload}`", "")


def _targets(options: dict[str, Any], model: Named) -> Iterator[Diagnostic]:
    """Layers that the model does not have, and experts of a model that has none."""
    from tunelang.estimate.parameters import dense_linears, linears

    a = model.architecture
    if options["weights"] == "experts" and a.experts is None:
        yield _range(f"`{a.name}` has no experts to train", "its config.json names none")
    if options["targets"] == "all_linear":
        return
    there = tuple({**linears(a), **dense_linears(a)})
    for name in options["targets"].split(","):
        if name not in there:
            yield _unknown("TL101", "unknown-name", "layer", name, there)
