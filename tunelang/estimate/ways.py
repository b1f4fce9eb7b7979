"""Every way to lay a step on a machine that keeps what the recipe fixes, the simplest first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import gcd

from tunelang.estimate import able
from tunelang.estimate.layout import Layout
from tunelang.estimate.load import Loss, Offload, Sharding
from tunelang.estimate.machine import Machine
from tunelang.estimate.work import Work

CPU_TOKENS = 2048  # tokens of a micro-batch beyond which a CPU gains nothing
MOST = 64  # rows at once beyond which a GPU gains nothing


def layouts(work: Work, machine: Machine) -> Iterator[Layout]:
    """In the order of preference: nothing moved between devices before something, no recomputation
    before it, and the largest micro-batch first. micro x accumulate x devices is the batch."""
    recomputed = (False, True) if work.recompute is None else (work.recompute,)
    for devices, sharding, offload in ways(work, machine):
        choices = product(recomputed, losses(work, machine), micros(work, machine, devices))
        for checkpointing, loss, micro in choices:
            yield Layout(
                micro=micro,
                accumulate=work.batch // (devices * micro),
                devices=devices,
                nodes=machine.nodes if devices > 1 else 1,
                sharding=sharding,
                offload=offload,
                checkpointing=checkpointing,
                loss=loss,
                optimizer=work.optimizer,
            )


def losses(work: Work, machine: Machine) -> tuple[Loss, ...]:
    """How logits are computed: in pieces, which needs least, or all at once, which takes one pass.

    Policies hold those of a micro-batch's replies (train/rollout.py), comparisons never all
    (train/likelihood.py). A CPU gains nothing that was measured, and keeps its bits.
    """
    if work.reply:
        return ("plain",)
    tokens = work.method in able.AT_ONCE and machine.kind == "gpu"
    return ("chunked", "plain") if tokens else ("chunked",)


def ways(work: Work, machine: Machine) -> list[tuple[int, Sharding, Offload]]:
    """Devices that share the step, what each of them holds, and what lies outside them."""
    shared = shardings(work, machine)
    devices = machine.devices if shared else 1
    found: list[tuple[Sharding, Offload]] = [(way, "none") for way in shared]
    if _unstarted(work, machine):
        return []
    if devices == 1:  # nothing is shared out, whatever `parallel.sharding` says
        found = [("none", "none")]
    if _beside(work, machine):
        found += [(way, what) for way in shared for what in able.offloads(way) if what != "none"]
    return [
        (devices, way, what)
        for way, what in found
        if work.sharding in (None, way) or way == "none"
        if work.offload in (None, what)
    ]


def shardings(work: Work, machine: Machine) -> tuple[Sharding, ...]:
    """Those that the worker can do for such a stage, and the machine's launcher can start."""
    every = able.shardings(work.method, work.kind or work.weights)
    started = machine.shardings
    return every if started is None else tuple(way for way in every if way in started)


def _unstarted(work: Work, machine: Machine) -> bool:
    """Whether several devices could share a step, if their launcher could start any way to."""
    every = able.shardings(work.method, work.kind or work.weights)
    return machine.devices > 1 and bool(every) and not shardings(work, machine)


def _beside(work: Work, machine: Machine) -> bool:
    """Whether memory beside the GPUs is planned with: where its size is known, or on demand."""
    asked = work.offload not in (None, "none")
    return machine.kind == "gpu" and (asked or machine.host is not None)


def micros(work: Work, machine: Machine, devices: int) -> list[int]:
    """Rows at once on a device, largest first: they divide its share of an update.

    None where devices cannot share the batch evenly, or not in the micro-batches of the recipe.
    """
    share = share_of(work, devices)
    if work.micro:
        return [work.micro] if work.batch % (devices * work.micro) == 0 else []
    most = MOST if machine.kind == "gpu" else CPU_TOKENS // (work.rows * work.positions)
    return [n for n in range(min(share, max(1, most)), 0, -1) if share % n == 0]


def share_of(work: Work, devices: int) -> int:
    """Rows that each device computes of an update; 0 where the batch cannot be shared evenly.

    A policy's minibatch may be smaller than the devices are many: then they take turns.
    """
    if work.batch % devices:
        return 0
    update = work.batch // work.minibatches
    return gcd(work.batch // devices, max(1, update // devices))


def impossible(work: Work, machine: Machine) -> str:
    """Why no way is left, for people; empty where there is one, whatever the batch is."""
    if ways(work, machine):
        return ""
    kind = work.kind or work.weights
    if work.offload not in (None, "none") and machine.kind == "cpu":
        return "there is no memory beside a CPU that anything could wait in"
    asked = work.sharding
    if _unstarted(work, machine):
        able_to = " or ".join(f"`{way}`" for way in able.shardings(work.method, kind))
        return f"the launcher of its hardware does not start {able_to}"
    if asked and asked not in able.shardings(work.method, kind):
        able_to = " or ".join(f"`{way}`" for way in shardings(work, machine))
        can = f"{able_to} can" if able_to else "nothing can"
        return f"`{asked}` cannot share {work.method} with `weights = {kind}`; {can}"
    if asked and asked not in shardings(work, machine):
        return f"the launcher of its hardware cannot start `{asked}`"
    what = f"`{asked}`" if asked else "what can share this stage"
    return f"{what} offloads {_offloads(asked)}, not `{work.offload}`"


def _offloads(sharding: Sharding | None) -> str:
    found = [what for what in able.offloads(sharding) if what != "none"] if sharding else []
    return " or ".join(f"`{what}`" for what in found) or "nothing"
