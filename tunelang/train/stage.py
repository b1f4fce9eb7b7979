"""What every stage that trains does around its loop: its start, what trains, rows, and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from tunelang.plan.ir import Batch, Step, Weights
from tunelang.train import engines, forward, gauges, loop, machine, mix, trainable
from tunelang.train.data import Split
from tunelang.train.engines.engine import Engine
from tunelang.train.job import Job
from tunelang.train.material import mixture
from tunelang.train.model import Loaded, cast, load
from tunelang.train.trainable import Trained

T = TypeVar("T")
Metrics = dict[str, dict[str, float]]


def begin(step: Step, job: Job, role: str = "model") -> Loaded:
    """The model of an input, held as the step's weights train."""
    job.phase("loading model")
    return loaded(step, job, role)


def loaded(step: Step, job: Job, role: str) -> Loaded:
    """The same, of a model that stands beside the one that trains."""
    precision, quant = trainable.storage(step), trainable.quantised(step)
    return load(step.inputs[role], job, precision=precision, quant=quant)


def make(step: Step, start: Loaded, weights: Weights | None = None) -> Trained:
    """What trains, by the step's weights where no others are given."""
    machine.seed(step.seed)  # the adapter's start depends on nothing that came before
    trained = trainable.make_trainable(start, weights or weights_of(step))
    enable_recompute(step, trained)
    return trained


def enable_recompute(step: Step, trained: Trained) -> None:
    """Recompute activations in the backward pass where the plan says so."""
    if step.place.checkpointing:
        forward.causal(trained.model).gradient_checkpointing_enable({"use_reentrant": False})


def drawn(step: Step, parts: Sequence[Split[Any]], at: int) -> Iterator[list[Any]]:
    """The training rows of every update from the `at`-th on, by the mix."""
    size = batch_of(step).size
    stream = mix.stream(mixture(step), [part.train for part in parts], step.seed)
    stream = islice(stream, at * size, None)
    while True:
        yield [parts[part].train[row] for part, row in islice(stream, size)]


def micros(
    taken: Sequence[T],
    room: int,
    longest: Callable[[T], int],
    sequences: Callable[[T], int] = lambda _: 1,
) -> list[list[T]]:
    """Micro-batches of like length, so that each holds little padding: at most `room` sequences
    in each, or one element that has more."""
    groups: list[list[T]] = [[]]
    held = 0
    for one in sorted(taken, key=longest):
        if groups[-1] and held + sequences(one) > room:
            groups.append([])
            held = 0
        groups[-1].append(one)
        held += sequences(one)
    return groups


def before(job: Job, take: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The metrics of the start, told."""
    found = gauges.before(job, take)
    job.measure("before", 0, found)
    return found


def after(
    step: Step, job: Job, before: dict[str, float], take: Callable[[], dict[str, float]]
) -> Metrics:
    """The metrics of what has trained, told, beside those of the start."""
    job.phase("measuring")
    metrics = {"before": before, "after": take()}
    job.measure("after", loop.schedule_of(step).steps, metrics["after"])
    return metrics


def settle(step: Step, trained: Trained, engine: Engine | None = None) -> None:
    """Round fully trained weights to the step's precision: what is measured is what is kept.

    Sharded weights compute in that precision as it is, and are rounded when they are written.
    """
    if engine is not None and engine.name not in engines.WHOLE:
        return
    if trained.adapter is None and step.precision == "bf16":
        cast(trained.model, "bf16")


def batch_of(step: Step) -> Batch:
    """How many rows an update has; every step that trains says so."""
    if step.batch is None:
        msg = f"step {step.name} has no batch"
        raise ValueError(msg)
    return step.batch


def weights_of(step: Step) -> Weights:
    """What trains; every step with a loop says so."""
    if step.weights is None:
        msg = f"step {step.name} trains nothing"
        raise ValueError(msg)
    return step.weights
