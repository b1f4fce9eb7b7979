"""The figures of one training step that no recipe asks for: as a plan's, and for other stacks.

What a step needs depends on the code that runs it, so a record of the catalogue is named: our own
worker's (catalog/stacks/tunelang-0.1.toml) unless another is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tunelang.catalog import stacks
from tunelang.estimate import reserve, time
from tunelang.estimate.layout import Layout
from tunelang.estimate.load import Load, Loss, Offload, Sharding, trainable
from tunelang.estimate.machine import Machine
from tunelang.estimate.memory import Memory
from tunelang.estimate.needs import band_of, load_of, offered, roles_of
from tunelang.estimate.parameters import Architecture, Targets
from tunelang.estimate.reserve import Band, Fits
from tunelang.estimate.roles import Judge, Reference, step_memory
from tunelang.estimate.states import QUANTISED, STATES, host_bytes
from tunelang.estimate.time import Seconds
from tunelang.estimate.work import Work

METHODS = {
    "sft": "instruction_tuning",
    "reward": "reward_modeling",
    "dpo": "dpo",
    "ppo": "ppo",
    "grpo": "grpo",
}
OPTIMIZERS = (*STATES, *QUANTISED, "galore")
PAIRS, POLICIES = ("reward", "dpo"), ("ppo", "grpo")
ADAPTERS = ("lora", "qlora", "dora")
LIKE = {"dora": "lora"}  # the kind that is counted, where it has another name


@dataclass(frozen=True)
class Asked:
    """One update, by the words of the command line; `reply` tokens of `length` are a policy's own.

    `share` of the routed experts trains where weights are `experts`, the `last` of them where
    they are `layers`.
    """

    architecture: Architecture
    machine: Machine
    method: str = "sft"
    weights: str = "full"
    rank: int = 16
    targets: Targets = "all_linear"
    length: int = 2048
    reply: int = 0
    micro: int = 1
    accumulate: int = 1
    checkpointing: bool = False
    loss: Loss = "chunked"
    optimizer: str = "adamw"
    precision: str = "bf16"
    masters: bool = False
    sharding: Sharding = "none"
    offload: Offload = "none"
    share: float = 1.0
    last: int = 1
    stack: str = stacks.OURS


@dataclass(frozen=True)
class Figures:
    """Bytes of one device, seconds of one update, and whether the first fit.

    `host` are bytes of one machine that wait beside its devices.
    """

    memory: Memory
    band: Band
    fits: Fits
    usable: int
    trained: int
    seconds: Seconds
    tokens: int
    host: float


def figures(asked: Asked) -> Figures:
    """What a plan says of the same step, by the record of the stack that was asked for."""
    work, layout, machine = work_of(asked), layout_of(asked), asked.machine
    load = _load(asked, work, layout)
    memory = step_memory(load, roles_of(work, machine.devices))
    band = band_of(memory.allocated, work, machine, layout)
    return Figures(
        memory=memory,
        band=band,
        fits=reserve.fits(band, offered(machine)),
        usable=machine.usable,
        trained=trainable(load),
        seconds=_update(work, machine, layout),
        tokens=work.batch * work.rows * work.positions,
        host=host_bytes(load) * machine.count,
    )


def _load(asked: Asked, work: Work, layout: Layout) -> Load:
    """One micro-batch on one device, in words that only the command line has."""
    return replace(
        load_of(work, layout),
        weights=LIKE.get(asked.weights, asked.weights),
        last=asked.last if asked.weights == "layers" else 0,
        masters=asked.masters,
        stack=stacks.find(asked.stack),
    )


def work_of(asked: Asked) -> Work:
    """One update of what the command line names."""
    adapter, policy = asked.weights in ADAPTERS, asked.method in POLICIES
    return Work(
        architecture=asked.architecture,
        method=METHODS[asked.method],
        weights="full" if asked.weights == "layers" else LIKE.get(asked.weights, asked.weights),
        kind=asked.weights,
        rank=asked.rank if adapter else 0,
        targets=asked.targets,
        dora=asked.weights == "dora",
        batch=asked.micro * asked.accumulate * asked.machine.devices,
        length=asked.length,
        mean_length=asked.length,
        precision=asked.precision,
        optimizer=asked.optimizer,
        steps=1,
        rows=2 if asked.method in PAIRS else 1,
        masters=asked.masters,
        share=asked.share if asked.weights == "experts" else 0.0,
        prompt=asked.length - asked.reply if policy else 0,
        reply=asked.reply if policy else 0,
        frozen=2 if asked.method == "ppo" else 1,
        critic=asked.method == "ppo",
        reference=_reference(asked, adapter),
        judge=_judge(asked, adapter),
    )


def _reference(asked: Asked, adapter: bool) -> Reference:
    if asked.method not in (*POLICIES, "dpo"):
        return "none"
    return "adapter_off" if adapter else "own"


def _judge(asked: Asked, adapter: bool) -> Judge:
    if asked.method == "ppo":
        return "adapter" if adapter else "own"
    return "function" if asked.method == "grpo" else "none"


def layout_of(asked: Asked) -> Layout:
    return Layout(
        micro=asked.micro,
        accumulate=asked.accumulate,
        devices=asked.machine.devices,
        nodes=asked.machine.nodes,
        sharding=asked.sharding,
        offload=asked.offload,
        checkpointing=asked.checkpointing,
        loss=asked.loss,
        optimizer=asked.optimizer,
    )


def _update(work: Work, machine: Machine, layout: Layout) -> Seconds:
    """One update, without what starts and ends a step."""
    middle, (low, high) = time.update_seconds(work, machine, layout), time.band(machine)
    return Seconds(middle * low, middle, middle * high)
