"""A loss becomes a transfer: groups of weights with rates and times of their own, held near their
start where the recipe wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from tunelang.plan.ir import Step
from tunelang.train import anchor, groups, loop, optimise
from tunelang.train.groups import Group
from tunelang.train.job import Job
from tunelang.train.loop import Objective
from tunelang.train.thaw import Thaw, Timetable


def paced(
    step: Step,
    job: Job,
    objective: Objective,
    head: nn.Module | None,
    mass: Callable[[Any], float],
) -> Objective:
    """`objective` with the step's pace; `head` tells classes, `mass` counts a micro-batch as the
    update's total does."""
    model = objective.modules["model"]
    found = groups.of(model, head)
    named: dict[str, Tensor] = {name: each for one in found for name, each in one.values.items()}
    freeze_the_rest(model, named)
    factor = float(step.fields["discriminative"])
    tell(step, job, found)
    return replace(
        objective,
        named=named,
        scales=groups.scales(found, factor) if factor != 1 else {},
        prepare=Thaw(found, timetable(step), lambda group, at: rate(step, group, at), job),
        loss=anchored(step, objective.loss, named, mass),
    )


def freeze_the_rest(model: nn.Module, named: dict[str, Tensor]) -> None:
    """What is in no group (an output layer that no class reads) does not train."""
    for name, value in model.named_parameters():
        value.requires_grad_(name in named)


def timetable(step: Step) -> Timetable:
    """When groups begin to train; both stretches are in steps."""
    unfreeze = step.fields["unfreeze"]
    every = max(1, int(unfreeze["every"])) if unfreeze["kind"] == "gradual" else 0
    return Timetable(int(step.fields["probe"]), every)


def rate(step: Step, group: Group, at: int) -> float:
    """The rate of a group in the update after `at` done ones."""
    whole = optimise.rate(loop.schedule_of(step), step.lr or 0.0, at)
    return whole * float(step.fields["discriminative"]) ** -group.below


def anchored(
    step: Step,
    loss: Callable[[Any], Tensor],
    named: dict[str, Tensor],
    mass: Callable[[Any], float],
) -> Callable[[Any], Tensor]:
    """`loss` with the L2-SP penalty, which counts once an update however it is cut into micros."""
    alpha, beta = (float(step.fields["l2_sp"][name]) for name in ("alpha", "beta"))
    if not alpha:
        return loss
    old = {name: each for name, each in named.items() if not name.startswith(groups.HEAD)}
    start = anchor.copies(old)

    def held(micro: Any) -> Tensor:
        return loss(micro) + mass(micro) * anchor.l2_sp(named, start, alpha, beta)

    return held


def tell(step: Step, job: Job, found: Sequence[Group]) -> None:
    """Say which groups train, from when on and how fast."""
    names = ", ".join(group.name for group in found)
    if len(found) == 1:
        job.note(f"only {found[0].name} trains: probe, unfreeze and discriminative change nothing")
        return
    factor, when = float(step.fields["discriminative"]), timetable(step)
    slower = f"each at the rate above it / {factor:g}" if factor != 1 else "all at one rate"
    job.note(f"{len(found)} groups train, lowest first: {names}; {slower}")
    if when.probe or when.every:
        steps = loop.schedule_of(step).steps
        opened = when.opened(steps - 1, len(found))
        job.note(f"only `{found[-1].name}` trains at first; {opened} of {len(found)} at the end")
