"""`tunelang probe`: three steps on this machine, measured, for the plans that follow."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunelang.cli.planning import leave, show_findings
from tunelang.diagnostic import Diagnostic, error

if TYPE_CHECKING:
    from tunelang.estimate.calibration import Calibration
    from tunelang.estimate.machine import Machine
    from tunelang.run.probing import Measured, Probe


def probe(
    model: Annotated[
        str | None,
        typer.Option(help="A hub id, a config.json or a folder; else a model for this machine."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
    kept: Annotated[bool, typer.Option("--list", help="Print what is kept of devices.")] = False,
    forget: Annotated[str | None, typer.Option(help="Remove what is kept of a device.")] = None,
) -> None:
    """Measure three steps on this machine; later plans use what was measured, and say so."""
    from tunelang.run.store import default_home

    home = default_home()
    if kept:
        _list(home, json)
    elif forget is not None:
        _forget(home, forget)
    else:
        _probe(home, model, json)


def _probe(home: Path, model: str | None, json: bool) -> None:
    from tunelang.errors import UserError
    from tunelang.run import calibrations
    from tunelang.run.probing import calibration, measure

    _installed()
    try:
        every = [measure(each) for each in _probes(model)]
    except UserError as problem:
        show_findings([problem.diagnostic])
        raise typer.Exit(1) from None
    made = calibration(every, time.strftime("%Y-%m-%d"))
    place = calibrations.keep(home, made)
    if json:
        _print({"calibration": _fields(made), "measured": [_record(each) for each in every]})
        return
    lines = [line for each in every for line in _told(each)]
    lines.append(f"plans for {made.device} take {made.time:.2f} × the time of the formulas")
    lines.append(f"and {made.reserved:.2f} × their memory, from now on; kept in {place}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _installed() -> None:
    """TL715: the training libraries are not there."""
    from tunelang.launch.libraries import libraries
    from tunelang.run.refusal import install

    absent = [each for each in libraries("train") if each.found is None]
    if absent:
        names = ", ".join(each.name for each in absent)
        message = f"a probe trains, and {names} is not installed"
        found = error("TL715", "training-not-installed", message, None, help=install(absent))
        show_findings([found])
        raise typer.Exit(1)


def _probes(model: str | None) -> Sequence[Probe]:
    """One of each precision: the model that was named, else the one that suits the machine."""
    from tunelang.estimate.machine import machine_here
    from tunelang.plan.named import named
    from tunelang.run.probing import of_model, usual

    machine = machine_here()
    _known(machine)
    precisions = _precisions(machine)
    if model is None:
        return [usual(machine, each) for each in precisions]
    found = named(model)
    if isinstance(found, Diagnostic):
        show_findings([found])
        raise typer.Exit(1)
    return [of_model(found.config, found.architecture, machine, each) for each in precisions]


def _precisions(machine: Machine) -> tuple[str, ...]:
    """On a GPU bf16; on a CPU that is fast at it both, since recipes use either."""
    if machine.gpu:
        return ("bf16",)
    return ("fp32", "bf16") if machine.bf16 else ("fp32",)


def _known(machine: Machine) -> None:
    """A GPU that the catalogue does not have is not planned with, and so is not probed."""
    from tunelang.launch.machine import gpus

    there = gpus()
    if there and machine.gpu is None:
        message = f"`{there[0].name}` is not in the catalogue: plans cannot name it"
        help = "`tunelang gpus` lists the catalogue; CUDA_VISIBLE_DEVICES= probes the CPU"
        show_findings([error("TL713", "unknown-accelerator", message, None, help=help)])
        raise typer.Exit(1)


def _told(measured: Measured) -> Iterator[str]:
    from tunelang.plan.figures import gib

    probe, took = measured.probe, sorted(measured.seconds)
    size = f"{probe.work.parameters / 1e6:,.1f}M parameters"
    rows = f"{probe.micro} × {probe.length} tokens an update"
    yield f"{probe.device}, {probe.precision}: {probe.architecture.name}, {size}, {rows}"
    middle, low, high = median(took), took[0], took[-1]
    yield (
        f"  measured   {middle:.3g} s an update ({low:.3g} to {high:.3g}), "
        f"{measured.flops / 1e12:.3g} TFLOP/s, {gib(measured.device)}"
    )
    seconds, size_predicted = measured.predicted
    yield f"  predicted  {seconds:.3g} s, {gib(size_predicted)}"


def _record(measured: Measured) -> dict[str, Any]:
    probe = measured.probe
    return {
        "device": probe.device,
        "precision": probe.precision,
        "model": probe.architecture.name,
        "parameters": probe.work.parameters,
        "micro": probe.micro,
        "length": probe.length,
        "seconds": [*measured.seconds],
        "flops_per_second": measured.flops,
        "allocated_bytes": measured.allocated,
        "reserved_bytes": measured.reserved,
        "device_bytes": measured.device,
        "predicted_seconds": measured.predicted[0],
        "predicted_bytes": measured.predicted[1],
    }


def _fields(made: Calibration) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(made)


def _list(home: Path, json: bool) -> None:
    from tunelang.run.calibrations import known

    found = [*known(home).values()]
    if json:
        _print([_fields(each) for each in found])
        return
    for each in found:
        factors = f"time × {each.time:.2f}, memory × {each.reserved:.2f}"
        sys.stdout.write(
            f"{each.device}: {factors}; {each.steps} steps, {each.date}, {each.stack}\n"
        )
    if not found:
        sys.stdout.write("no device was probed: plans rest on published formulas\n")


def _forget(home: Path, device: str) -> None:
    from tunelang.recipe.names import nearest
    from tunelang.run.calibrations import forget, known

    if forget(home, device):
        sys.stdout.write(f"forgotten: {device}\n")
        return
    there = [*known(home)]
    guess = nearest(device, there)
    help = f"did you mean `{guess}`?" if guess else f"kept: {', '.join(there) or 'nothing'}"
    message = f"nothing is kept of `{device}`"
    found = [error("TL101", "unknown-name", message, None, help=help)]
    show_findings(found)
    leave(found)


def _print(what: Any) -> None:
    from json import dumps

    sys.stdout.write(dumps(what, indent=2) + "\n")
