"""How a step runs, in a few words of the field."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.estimate.layout import Layout
from tunelang.estimate.needs import CPU_SHARE
from tunelang.plan.ir import Place, Step

SHARDINGS = {
    "none": "",
    "ddp": "DDP",
    "zero1": "ZeRO-1",
    "zero2": "ZeRO-2",
    "zero3": "ZeRO-3",
    "fsdp2": "FSDP2",
}
OFFLOADS = {
    "none": "",
    "optimizer": "optimizer offloaded",
    "all": "weights and optimizer offloaded",
}
UNKNOWN = "no estimate"  # how the reason begins for which a step has none
# What trains on tokens has logits to compute; others have a head of a few numbers.
SPEAKS = "lm"


def method(step: Step) -> str:
    """`instruction tuning, lora`."""
    weights = step.weights.kind if step.weights else ""
    name = step.method.replace("_", " ")
    return f"{name}, {weights}" if weights and weights != "full" else name


def split(step: Step) -> Iterator[str]:
    """`1,908 steps of 256 = 1 × 32 × 8 GPUs`: micro-batch, accumulation, processes."""
    if step.schedule and step.batch:
        yield f"{step.schedule.steps:,} steps of {batch(step)}"


def batch(step: Step) -> str:
    place = step.place
    assert step.batch
    parts = [f"{place.micro}"]
    parts += [f"{place.accumulate}"] if place.accumulate > 1 else []
    parts += [f"{place.processes} {processors(place)}"] if place.processes > 1 else []
    total = f"{step.batch.size:,}"
    return f"{total} = {' × '.join(parts)}" if len(parts) > 1 else total


def processors(place: Place) -> str:
    return "GPUs" if place.device == "cuda" else "processes"


def shared(step: Step) -> str:
    """`8 GPUs · FSDP2 · checkpointing`; empty for a step of one process."""
    place = step.place
    if place.processes == 1:
        return ""
    return " · ".join([f"{place.processes} {processors(place)}", *strategy(step)])


def strategy(step: Step) -> list[str]:
    """Sharding, recomputation, loss and offload, where a step trains."""
    return ways(step.place, step.product == SPEAKS) if step.schedule else []


def ways(place: Place | Layout, speaks: bool) -> list[str]:
    """The same of any layout; what does not speak has no loss over logits."""
    said = [SHARDINGS[place.sharding], "checkpointing" if place.checkpointing else ""]
    said += [f"{place.loss} loss" if speaks else "", OFFLOADS[place.offload]]
    return [each for each in said if each]


def unknown(step: Step) -> str:
    """Why a step has no estimate: the plan says it of what trains."""
    known = [reason for reason in step.place.reasons if reason.startswith(UNKNOWN)]
    return known[0] if known else f"{UNKNOWN}: it is not predicted"


def where(step: Step) -> str:
    """The devices and the precision: `4 nodes × 8 H100-80GB, bf16, by slurm`."""
    place = step.place
    by = [f"by {place.submit.kind}"] if place.submit else []
    return ", ".join([devices(place), step.precision, *by])


def devices(place: Place) -> str:
    if place.device == "cuda":
        each = f"{place.gpus // place.nodes} × {place.gpu}"
        return f"{place.nodes} nodes of {each}" if place.nodes > 1 else each
    threads = f"{place.threads} thread{'s' if place.threads > 1 else ''}"
    if place.processes > 1:
        threads = f"{place.processes} processes of {threads}"
    return f"{place.nodes} nodes, CPU, {threads}" if place.nodes > 1 else f"CPU, {threads}"


def room(step: Step) -> float:
    """The peak's share of what the step may use: a CPU's memory is shared with everything else."""
    assert step.estimate
    offered = step.estimate.usable * (CPU_SHARE if step.place.device == "cpu" else 1.0)
    return step.estimate.peak / offered if offered else 0.0
