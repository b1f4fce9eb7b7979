"""What can be known to fail before the first worker starts: libraries and launchers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from tunelang import registry
from tunelang.diagnostic import Diagnostic, error, warning
from tunelang.launch.launcher import Launcher
from tunelang.launch.libraries import Library, libraries
from tunelang.launch.machine import Machine
from tunelang.launch.rendezvous import Node
from tunelang.plan.ir import Step


def refusals(
    steps: Iterable[Step], machine: Machine, profiles: tuple[str, ...], node: Node | None = None
) -> list[Diagnostic]:
    """Errors and warnings for the steps that are to run; `profiles` are the recipe's own.

    `node` is this machine where several share steps.
    """
    running = list(steps)
    if not running:
        return []
    found = _missing(running)
    found += _cannot(running, machine, profiles)
    for step in running:
        found += [_alone(step, node), later(step)]
    return [finding for finding in found if finding is not None]


def launcher(name: str) -> Launcher | None:
    """The installed launcher of that name."""
    return next((one for one in launchers() if one.name == name), None)


def launchers() -> tuple[Launcher, ...]:
    return registry.parts("launch", "LAUNCHER")


def install(wanted: Iterable[Library]) -> str:
    """The command that installs libraries into the Python that runs this."""
    return f"{sys.executable} -m pip install {' '.join(one.requirement for one in wanted)}"


def _missing(steps: list[Step]) -> list[Diagnostic | None]:
    """At most one error for what is not installed and one warning for other versions."""
    extras = ["train"] + (["quant"] if any(map(_quantised, steps)) else [])
    extras += ["deepspeed"] if any(map(_by_deepspeed, steps)) else []
    needed = [one for extra in extras for one in libraries(extra)]
    absent = [one for one in needed if one.found is None]
    other = [one for one in needed if one.found is not None and not one.fits]
    return [_absent(absent) if absent else None, _other(other) if other else None]


def _quantised(step: Step) -> bool:
    """Whether the step needs bitsandbytes."""
    optimizer = str(step.fields.get("optimizer", ""))
    return (step.weights is not None and step.weights.kind == "qlora") or "8bit" in optimizer


def _by_deepspeed(step: Step) -> bool:
    return step.place.sharding.startswith("zero") or step.place.launcher == "deepspeed"


def _absent(wanted: list[Library]) -> Diagnostic:
    names = ", ".join(one.name for one in wanted)
    missing = "is not installed" if len(wanted) == 1 else "are not installed"
    message = f"training needs libraries that {missing} here: {names}"
    return error("TL715", "training-not-installed", message, None, help=install(wanted))


def _other(wanted: list[Library]) -> Diagnostic:
    said = ", ".join(f"{one.name} {one.found} (supported {one.supported})" for one in wanted)
    message = f"TuneLang was not tried with the versions installed here: {said}"
    return warning("TL725", "untried-version", message, None, help=install(wanted))


def _cannot(steps: list[Step], machine: Machine, profiles: tuple[str, ...]) -> Iterator[Diagnostic]:
    for stages, why in together((step, _reason(step, machine)) for step in steps):
        message = f"{stages} cannot run here with {why}"
        yield error("TL714", "backend-cannot", message, None, help=_advice(profiles))


def _reason(step: Step, machine: Machine) -> str | None:
    name = step.place.launcher
    chosen = launcher(name)
    reason = chosen.cannot(step, machine) if chosen else "no such launcher is installed"
    return f"`{name}`: {reason}" if reason else None


def together(found: Iterable[tuple[Step, str | None]]) -> Iterator[tuple[str, str]]:
    """Stages of one reason are said as one: "stages `judge`, `policy`", and why."""
    apart: dict[str, list[str]] = {}
    for step, reason in found:
        if reason:
            apart.setdefault(reason, []).append(f"`{step.name}`")
    for reason, names in apart.items():
        yield f"stage{'s' if len(names) > 1 else ''} {', '.join(names)}", reason


def _alone(step: Step, node: Node | None) -> Diagnostic | None:
    """Several machines are needed: each has to be told which of them it is."""
    count = step.place.nodes
    if count == (node.count if node else 1) or count == 1:
        return None
    have = "this is one" if node is None else f"it is started on {node.count}"
    message = f"stage `{step.name}` is planned for {count} machines and {have}"
    help = (
        f"start it on each with `--node 0` to `--node {count - 1}` and `--rendezvous HOST:PORT`, "
        "or name a scheduler with `--launcher`"
    )
    return error("TL714", "backend-cannot", message, None, help=help)


def later(step: Step) -> Diagnostic | None:
    """The language is ahead of the workers: what none can do yet is refused, never left out."""
    if not step.later:
        return None
    asked = ", ".join(f"`{text}`" for text in step.later)
    message = f"stage `{step.name}` asks for what this version cannot do: {asked}"
    help = "`check` and `plan` know it; take it out of the recipe to run the stage"
    return error("TL714", "backend-cannot", message, None, help=help)


def _advice(profiles: tuple[str, ...]) -> str:
    if not profiles:
        return "add a profile for this machine to the recipe and name it with `--profile NAME`"
    choices = " or ".join(f"`--profile {name}`" for name in profiles)
    return f"run it on a machine that has what it needs, or here with {choices}"
