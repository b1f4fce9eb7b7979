"""What a step needs when it is laid out in one way: memory of a device, time, money.

One layout costs some 50 microseconds, so that a fit can try a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from tunelang.estimate import reserve
from tunelang.estimate.disk import checkpoint_bytes, product_bytes
from tunelang.estimate.layout import Layout
from tunelang.estimate.load import OWN, Load
from tunelang.estimate.machine import Machine
from tunelang.estimate.memory import Memory
from tunelang.estimate.predicted import Estimate
from tunelang.estimate.reserve import Band, Fits
from tunelang.estimate.roles import Critic, Roles, step_memory
from tunelang.estimate.sampling import AT_ONCE
from tunelang.estimate.states import host_bytes
from tunelang.estimate.time import operations, step_seconds, update_seconds
from tunelang.estimate.work import Work

SMALL = 10_000_000  # parameters below which a second thread costs more than it brings
HOST_SHARE = 0.85  # of the memory beside GPUs, as of that on them: the rest is everything else's
CPU_SHARE = 0.5  # of a CPU machine's memory: the rest is everything else's


@dataclass(frozen=True)
class Need:
    """Bytes of one device: what tensors take, and the band of what it must have for them.

    `host` are those of one machine beside its devices; without `room` there are not so many.
    """

    memory: Memory
    band: Band
    fits: Fits
    host: float = 0.0
    room: bool = True

    @property
    def peak(self) -> float:
        return self.band.middle


def offered(machine: Machine) -> float:
    """Bytes that a step may plan with; a CPU's memory is shared with everything else."""
    return machine.usable * (CPU_SHARE if machine.kind == "cpu" else 1.0)


def used(parameters: int, machine: Machine, *, alone: bool) -> Machine:
    """The part of a machine that a model of this size is computed by, in each process or in one."""
    part = machine.undivided if alone else machine
    return replace(part, cores=1) if parameters < SMALL else part


def need(work: Work, machine: Machine, layout: Layout) -> Need:
    """What one device needs for a step that is laid out so."""
    load = load_of(work, layout)
    found = step_memory(load, roles_of(work, layout.devices))
    band = band_of(found.allocated, work, machine, layout)
    host = host_bytes(load) * layout.devices / layout.nodes
    room = machine.host is None or host <= HOST_SHARE * machine.host
    fits = reserve.fits(band, offered(machine)) if room else "no"
    return Need(found, band, fits, host, room)


def band_of(allocated: float, work: Work, machine: Machine, layout: Layout) -> Band:
    """What a device must have for so many bytes of tensors, as measured where somebody did."""
    if machine.kind == "cpu":
        band = reserve.resident(allocated)
    else:
        band = reserve.reserved(
            allocated,
            # A policy's logits are of replies alone, no more at once than a piece has.
            loss="chunked" if work.reply else layout.loss,
            sharding=layout.sharding,
            devices=layout.devices,
            trains_all=work.written == "full",
        )
    return reserve.calibrated(band, machine.calibration)


def load_of(work: Work, layout: Layout) -> Load:
    """One micro-batch on one device."""
    return Load(
        architecture=work.architecture,
        weights=work.written,
        tokens=layout.micro * work.rows * work.positions,
        length=work.positions,
        rank=work.rank,
        targets=work.targets,
        dora=work.dora,
        last=work.last,
        checkpointing=layout.checkpointing,
        accumulates=layout.accumulate > work.minibatches,
        width=work.width,
        masters=work.written in OWN and work.precision != "fp32" and work.masters,
        optimizer=layout.optimizer,
        loss=layout.loss,
        sharding=layout.sharding,
        devices=layout.devices,
        offload=layout.offload,
        scored=_scored(work),
        share=work.share,
        held=work.held,
    )


def _scored(work: Work) -> float:
    """Positions whose logits are computed: replies for ppo, none for a reward model."""
    if work.method == "reward_modeling":
        return 0.0
    return work.reply / work.positions if work.reply else 1.0


def roles_of(work: Work, devices: int = 1) -> Roles:
    """Who is in memory beside what trains, on one of so many devices."""
    if work.reply:
        own: Critic = "own" if work.weights == "full" else "adapter"
        return Roles(
            family="policy",
            prompt=work.prompt,
            reply=work.reply,
            sampled=_sampled(work.batch, devices),
            group=work.group,
            reference="own" if own == "own" else work.reference,
            critic=own if work.critic else "none",
            judge=work.judge,
        )
    if work.method == "reward_modeling":
        return Roles("reward", work.rows)
    if work.rows > 1 or work.reference != "none":
        return Roles("comparisons", work.rows, reference=work.reference, judge=work.judge)
    return Roles()


def _sampled(batch: int, devices: int) -> int:
    """Replies in one cache: a rollout comes in chunks, cut so that every process has a piece."""
    chunks = ceil(batch / AT_ONCE)
    return ceil(min(AT_ONCE, batch) / ceil(devices / chunks))


def predicted(work: Work, machine: Machine, layout: Layout, need: Need) -> Estimate:
    """What a plan says of a step."""
    time = step_seconds(work, machine, layout)
    memory, band = need.memory, need.band
    return Estimate(
        parameters=work.parameters,
        trainable=work.trained,
        allocated=int(memory.allocated),
        terms={name: int(size) for name, size in memory.terms.items() if size >= 1},
        phases={name: int(size) for name, size in memory.phases.items()},
        phase=memory.phase,
        peak=int(band.middle),
        peak_low=int(band.low),
        peak_high=int(band.high),
        usable=machine.usable,
        host=int(need.host),
        disk=product_bytes(work.trained) + checkpoint_bytes(work.trained, work.optimizer),
        flops=operations(work, layout).all * layout.devices,
        tokens_per_second=_tokens(work) / update_seconds(work, machine, layout),
        seconds_low=time.low,
        seconds=time.middle,
        seconds_high=time.high,
        dollars=dollars(machine, time.middle),
        basis=basis(machine),
    )


def _tokens(work: Work) -> float:
    """Tokens of one update, of a usual length; of a policy's those that it reads and writes."""
    length = work.prompt + work.reply if work.reply else work.mean_length
    return float(work.batch * work.rows * length)


def dollars(machine: Machine, seconds: float) -> float | None:
    """The price of the whole machine for so long: what a step leaves idle is paid for, too."""
    return None if machine.dollars is None else machine.dollars * seconds / 3600


def basis(machine: Machine) -> str:
    """What the figures rest on."""
    measured = machine.calibration
    if measured is None:
        return "published formulas"
    return f"the calibration of {measured.device}, {measured.steps} steps, {measured.date}"
