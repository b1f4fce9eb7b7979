"""Rules on how devices share a stage: TL705, TL706, TL709 and TL714."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from tunelang.catalog.launchers import scheduler_cannot, starter_cannot
from tunelang.diagnostic import Diagnostic, Label, error, hint
from tunelang.estimate import able
from tunelang.estimate.machine import Machine
from tunelang.plan.checks.hardware import placed
from tunelang.plan.ir import Plan, Step
from tunelang.plan.machines import hardware_of, starter_of
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.works import architecture_of, shared_as
from tunelang.plan.reads import reads
from tunelang.recipe.model import Declared
from tunelang.rules.edits import setting

SIZES = ("data", "tensor", "pipeline")


def _sizes(stage: Declared) -> dict[str, int]:
    """The parallel sizes that are written."""
    sizes = {name: stage.get(f"parallel.{name}") for name in SIZES}
    return {name: int(size) for name, size in sizes.items() if size}


def wrong_gpu_count(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL705: the parallel sizes do not multiply to the count. `data` may be left to the plan."""
    for step, stage, machine in placed(plan, context):
        sizes = _sizes(stage)
        total, count = prod(sizes.values()), machine.devices
        wrong = total != count if "data" in sizes else count % total != 0
        if not sizes or not wrong:
            continue
        split = prod(size for name, size in sizes.items() if name != "data")
        last = next(name for name in SIZES if name in sizes)
        hardware = hardware_of(stage, context.recipe)
        whole = count % split == 0
        yield error(
            "TL705",
            "wrong-gpu-count",
            f"`{step.name}` is split over {' x '.join(map(str, sizes.values()))} = {total} devices "
            f"and has {count}",
            stage.span_of(f"parallel.{last}"),
            f"makes {total}",
            others=(Label(hardware.span, f"has {count}"),) if hardware else (),
            help=f"`data = {count // split}` uses every device"
            if whole
            else f"`tensor` times `pipeline` must divide {count}",
            fix=setting(stage, "parallel.data", str(count // split), safe=True) if whole else None,
        )


def heads_not_divisible(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL706: tensor parallelism gives each device whole heads."""
    for step, stage, _ in placed(plan, context):
        tensor, shape = _sizes(stage).get("tensor", 1), architecture_of(step, context)
        if shape is None or not (shape.heads % tensor or shape.kv_heads % tensor):
            continue
        fits = [n for n in range(1, shape.kv_heads + 1) if shape.kv_heads % n == 0]
        yield error(
            "TL706",
            "heads-not-divisible",
            f"`{step.name}` splits {shape.heads} heads and {shape.kv_heads} key-value heads over "
            f"{tensor} devices",
            stage.span_of("parallel.tensor"),
            "does not divide them",
            help=f"{shape.name} can be split over {', '.join(map(str, fits))}",
        )


def idle_gpus(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL709: a stage has more devices than it can give work to.

    An update of ppo may have fewer episodes than there are devices; for other methods that is an
    error, since their batch could not be made up at all (TL604). Some stages run in one process.
    """
    for step, stage, machine in placed(plan, context):
        assert step.weights
        why = able.alone(shared_as(step), step.weights.kind)
        if why and machine.devices > 1:
            asked = stage.get("parallel.data") is not None
            yield (_not_shared if asked else _alone)(step, stage, (machine, why), context)
            continue
        minibatches = stage.get("rollout.minibatches")
        if not (minibatches and step.batch and machine.devices > 1):
            continue
        size = step.batch.size // int(minibatches)
        if size < machine.devices <= step.batch.size:
            yield _idle(step, stage, (size, machine.devices))


def _alone(step: Step, stage: Declared, had: tuple[Machine, str], context: Context) -> Diagnostic:
    machine, why = had
    hardware = hardware_of(stage, context.recipe)
    return hint(
        "TL709",
        "idle-gpus",
        f"`{step.name}` uses one of {machine.devices} devices: {why}",
        stage.span_of("on"),
        "one of these works",
        others=(Label(hardware.span, f"has {machine.devices}"),) if hardware else (),
        help="the others wait, and are paid for; a hardware block with `count = 1` is enough",
    )


def _not_shared(
    step: Step, stage: Declared, had: tuple[Machine, str], context: Context
) -> Diagnostic:
    """TL714: devices are asked for that the stage's worker cannot share it with."""
    machine, why = had
    return error(
        "TL714",
        "backend-cannot",
        f"`{step.name}` cannot be shared by {machine.devices} devices: {why}",
        stage.span_of("parallel.data"),
        "cannot be done",
        help="without `data` it runs on one of them",
    )


def _idle(step: Step, stage: Declared, sizes: tuple[int, int]) -> Diagnostic:
    size, count = sizes
    assert step.batch
    fewer = step.batch.size // count
    return hint(
        "TL709",
        "idle-gpus",
        f"an update of `{step.name}` has {size} episodes, so {count - size} of {count} devices "
        "wait",
        stage.span_of("rollout.minibatches"),
        f"{size} episodes an update",
        help=f"`minibatches = {fewer}` gives every device an episode at least",
        fix=setting(stage, "rollout.minibatches", str(fewer)),
    )


def launcher_cannot(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL714: the launcher that the hardware names cannot start the stage as it is planned."""
    for step, stage, _ in placed(plan, context):
        hardware = hardware_of(stage, context.recipe)
        refused = _refused(step, starter_of(hardware)) if hardware else None
        if hardware and refused:
            named, why = refused
            yield error(
                "TL714",
                "backend-cannot",
                f"`{named}` cannot start `{step.name}`: {why}",
                hardware.span_of("launcher"),
                "cannot start it",
                others=(Label(stage.span, "runs here"),),
                help="without `launcher` the plan takes one that can",
            )


def _refused(step: Step, starter: str | None) -> tuple[str, str] | None:
    """The launcher or scheduler that cannot, and why (catalog/launchers.py)."""
    place = step.place
    if starter and place.launcher == starter:
        why = starter_cannot(
            starter, processes=place.processes, nodes=place.nodes, sharding=place.sharding
        )
        return (starter, why) if why else None
    if place.submit is None:
        return None
    submit = place.submit
    why = scheduler_cannot(
        submit.kind, submit.options, nodes=place.nodes, starter=place.launcher, reads=reads(step)
    )
    return (submit.kind, why) if why else None


RULES = (wrong_gpu_count, heads_not_divisible, idle_gpus, launcher_cannot)
