"""The training loop of every method that learns from given rows: updates, metrics, checkpoints.

It knows no data formats and no losses: an `Objective` brings both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tunelang.plan.ir import Schedule, Step
from tunelang.train import checkpoint, engines, machine, optimise, selfcheck
from tunelang.train.checkpoint import Parts
from tunelang.train.engines.engine import Engine, Unit
from tunelang.train.job import Job
from tunelang.train.trainable import Trained

POINTS = 200  # of the loss curve kept in metrics.json
MAIN = "main"  # the unit of a loop that has one
T = TypeVar("T")


@dataclass(frozen=True)
class Update:
    """The rows of one optimizer step: micro-batches, and the count their summed loss is over."""

    micros: Sequence[Any]
    total: float


@dataclass(frozen=True)
class Objective:
    """What is learnt. `updates(at)` are the updates from the `at`-th on; `loss` sums over a micro.

    `measure` gives held-out metrics; empty where no rows are held out. `scales` are shares of the
    rate by name; `prepare(at)` freezes and unfreezes for the update after `at` done ones, before
    the first, before a checkpoint is put back, and after every update. All of `named` is in the
    optimizer from the start: one that is built from what trains first would train nothing else.
    `foresees`: updates are made with the model, too.
    """

    modules: dict[str, nn.Module]
    named: Mapping[str, Tensor]
    updates: Callable[[int], Iterator[Update]]
    loss: Callable[[Any], Tensor]
    measure: Callable[[], dict[str, float]]
    scales: Mapping[str, float] = field(default_factory=dict)
    prepare: Callable[[int], None] = lambda _: None
    foresees: bool = False


@dataclass
class Progress:
    """Where a run is: done updates, the loss curve, and when it last spoke."""

    at: int
    series: list[dict[str, float]]
    spoke: float = 0.0


@dataclass(frozen=True)
class Training:
    """A run of the loop: what the recipe says, what is learnt and by what, and how far it is."""

    step: Step
    job: Job
    schedule: Schedule
    objective: Objective
    engine: Engine
    parts: Parts
    progress: Progress

    def compute(self, work: Callable[[], T]) -> T:
        """Run what uses the model and learns nothing, on every process alike."""
        with torch.no_grad():
            return self.engine.compute(work, self.objective.modules["model"])

    def weights(self, trained: Trained) -> dict[str, Tensor] | None:
        """What the product keeps, whole, by name: what has trained, and of a whole model also what
        has not. None where the modules themselves hold it. Every process calls it."""
        if self.engine.name in engines.WHOLE:
            return None
        found = dict(self.engine.masters(MAIN))
        rest = [name for name, _ in trained.model.named_parameters() if name not in found]
        if rest and trained.adapter is None:
            with torch.no_grad(), self.engine.whole(trained.model) as model:
                found |= {name: model.get_parameter(name).detach().cpu().clone() for name in rest}
        return found


def train(step: Step, job: Job, objective: Objective) -> list[dict[str, float]]:
    """Run all updates of a step that one process carries out; returns the loss curve."""
    if job.world > 1:
        msg = f"{step.method} is carried out by one process"
        raise ValueError(msg)
    return run(ready(step, job, objective))


def ready(
    step: Step,
    job: Job,
    objective: Objective,
    engine: Engine | None = None,
    frozen: Sequence[nn.Module] = (),
) -> Training:
    """Lay out the weights as the place says, and those of models that only compute; before, nothing
    may compute with all of them."""
    engine = engine or engines.of(step, job)
    make = partial(optimise.optimizer, step, scales=objective.scales)
    engine.adopt([Unit(MAIN, objective.modules, objective.named, make)], frozen)
    if engine.name != "none":
        engines.check(job, engine, step.place.processes)
        machine.seed(step.seed + job.rank)  # no two processes drop the same activations
    parts = Parts(objective.modules, {MAIN: engine.optimizer(MAIN)}, engine=engine)
    return Training(step, job, schedule_of(step), objective, engine, parts, Progress(0, []))


def run(training: Training) -> list[dict[str, float]]:
    """Run all updates of the schedule, from the newest checkpoint on; returns the loss curve."""
    job, objective, progress = training.job, training.objective, training.progress
    objective.prepare(job.resume.at if job.resume else 0)
    begin(training)
    job.phase("training")
    job.polls_stop.set()
    switch(objective, training=True)
    stream = objective.updates(progress.at)
    while progress.at < training.schedule.steps:
        one_update(training, following(training, stream))
        after_update(training)
    job.polls_stop.clear()
    switch(objective, training=False)
    return progress.series


def following(training: Training, stream: Iterator[Update]) -> Update:
    """The next update."""
    if training.objective.foresees:
        return training.compute(lambda: next(stream))
    return next(stream)


def schedule_of(step: Step) -> Schedule:
    """The step's schedule; every step that trains has one."""
    if step.schedule is None:
        msg = f"step {step.name} has no schedule"
        raise ValueError(msg)
    return step.schedule


def begin(training: Training) -> None:
    """From the checkpoint if there is one, else from nothing."""
    found = training.job.resume
    if found is not None:
        values = checkpoint.restore(found, training.parts)
        training.progress.at, training.progress.series = found.at, values["series"]


def one_update(training: Training, update: Update) -> None:
    """Forward and backward over the micro-batches, clip, step; the first one is watched."""
    step, progress, objective = training.step, training.progress, training.objective
    lr = optimise.rate(training.schedule, step.lr or 0.0, progress.at)
    optimise.set_rate(training.engine.optimizer(MAIN), lr)
    loss = backward(training.engine, objective, update)
    optimise.finite("the loss", loss, f" at update {progress.at + 1}")
    if progress.at == 0:
        norm = selfcheck.watched_step(training.job, training.engine, objective.modules, most(step))
    else:
        norm = optimise.update(training.engine, MAIN, most(step))
    progress.at += 1
    objective.prepare(progress.at)
    tell(training, {"loss": loss, "lr": lr, "grad_norm": norm})


def backward(engine: Engine, objective: Objective, update: Update) -> float:
    """Sum of losses over the update's whole count, and its gradients: each process takes its share
    of the micro-batches. One that another counts is computed all the same, for nothing: processes
    that share weights go through them equally often."""
    summed = 0.0
    mine = list(zip(engine.share(update.micros), engine.counts(len(update.micros)), strict=True))
    for at, (micro, counts) in enumerate(mine):
        last = at == len(mine) - 1
        work = partial(share_of, objective, update, micro)
        loss = engine.compute(work, objective.modules["model"], last=last)
        engine.backward(MAIN, loss if counts else loss * 0, last=last)
        summed += float(loss.detach()) if counts else 0.0
    return engine.total([summed])[0]


def share_of(objective: Objective, update: Update, micro: Any) -> Tensor:
    """What a micro-batch adds to the loss of its update."""
    return objective.loss(micro) / update.total


def most(step: Step) -> float:
    """The norm that gradients are clipped to."""
    return float(step.fields.get("max_grad_norm", 1.0))


def tell(training: Training, metrics: dict[str, float]) -> None:
    """Report progress at most once a second, and always at both ends; keep the loss curve."""
    progress, steps = training.progress, training.schedule.steps
    now = time.monotonic()
    if progress.at % max(1, steps // POINTS) == 0 or progress.at == steps:
        progress.series.append({"at": progress.at, **metrics})
    if progress.at not in (1, steps) and now - progress.spoke < 1.0:
        return
    progress.spoke = now
    event = {"event": "progress", "at": progress.at, "of": steps, "metrics": metrics}
    training.job.emit(event)


def after_update(training: Training) -> None:
    """Measure, checkpoint and stop where it is time to."""
    job, progress, schedule = training.job, training.progress, training.schedule
    last = progress.at == schedule.steps
    if due(schedule.eval_every, progress.at) and not last:
        switch(training.objective, training=False)
        metrics = training.compute(training.objective.measure)
        if metrics:
            job.measure("during", progress.at, metrics)
        switch(training.objective, training=True)
    stopping = bool(training.engine.total([float(job.stop.is_set())])[0])  # all stop, or none
    if (due(schedule.save_every, progress.at) and not last) or stopping:
        training.parts.values["series"] = progress.series
        checkpoint.save(job, progress.at, training.parts)
    if stopping:
        raise KeyboardInterrupt


def due(every: int, at: int) -> bool:
    """Is it time, for something done every so many updates (0: never)?"""
    return every > 0 and at % every == 0


def switch(objective: Objective, *, training: bool) -> None:
    """Training or evaluation mode of every module."""
    for module in objective.modules.values():
        module.train(training)
