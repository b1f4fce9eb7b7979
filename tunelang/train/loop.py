"""The training loop of every method that learns from given rows: updates, metrics, checkpoints.

It knows no data formats and no losses: an `Objective` brings both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tunelang.plan.ir import Schedule, Step
from tunelang.train import checkpoint, optimise, selfcheck
from tunelang.train.checkpoint import Parts
from tunelang.train.job import Job, fail

POINTS = 200  # of the loss curve kept in metrics.json


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
    """

    modules: dict[str, nn.Module]
    named: Mapping[str, Tensor]
    updates: Callable[[int], Iterator[Update]]
    loss: Callable[[Any], Tensor]
    measure: Callable[[], dict[str, float]]
    scales: Mapping[str, float] = field(default_factory=dict)
    prepare: Callable[[int], None] = lambda _: None


@dataclass
class Progress:
    """Where a run is: done updates, the loss curve, and when it last spoke."""

    at: int
    series: list[dict[str, float]]
    spoke: float = 0.0


@dataclass(frozen=True)
class Training:
    """A run of the loop: what the recipe says, what is learnt, and how far it is."""

    step: Step
    job: Job
    schedule: Schedule
    objective: Objective
    parts: Parts
    progress: Progress

    @property
    def optimizer(self) -> Optimizer:
        return self.parts.optimizers["main"]


def train(step: Step, job: Job, objective: Objective) -> list[dict[str, float]]:
    """Run all updates of the schedule, from the newest checkpoint on; returns the loss curve."""
    schedule = schedule_of(step)
    optimizer = optimise.optimizer(step, objective.named, objective.scales)
    parts = Parts(objective.modules, {"main": optimizer})
    objective.prepare(job.resume.at if job.resume else 0)
    training = Training(step, job, schedule, objective, parts, begin(job, parts))
    progress = training.progress
    job.phase("training")
    job.polls_stop.set()
    switch(objective, training=True)
    for update in islice(objective.updates(progress.at), schedule.steps - progress.at):
        one_update(training, update)
        after_update(training)
    job.polls_stop.clear()
    switch(objective, training=False)
    return progress.series


def schedule_of(step: Step) -> Schedule:
    """The step's schedule; every step that trains has one."""
    if step.schedule is None:
        msg = f"step {step.name} has no schedule"
        raise ValueError(msg)
    return step.schedule


def begin(job: Job, parts: Parts) -> Progress:
    """From the checkpoint if there is one, else from nothing."""
    if job.resume is None:
        return Progress(0, [])
    values = checkpoint.restore(job.resume, parts)
    return Progress(job.resume.at, values["series"])


def one_update(training: Training, update: Update) -> None:
    """Forward and backward over the micro-batches, clip, step; the first one is watched."""
    step, progress, objective = training.step, training.progress, training.objective
    lr = optimise.rate(training.schedule, step.lr or 0.0, progress.at)
    optimise.set_rate(training.optimizer, lr)
    training.optimizer.zero_grad(set_to_none=True)
    loss = backward(objective, update)
    if not math.isfinite(loss):
        message = f"the loss is {loss} at update {progress.at + 1}"
        fail("TL735", "loss-not-finite", message, "lower lr, or use precision = fp32")
    norm = clip(step, objective.named)
    if progress.at == 0:
        selfcheck.watched_step(training.job, objective.modules, training.optimizer)
    else:
        training.optimizer.step()
    progress.at += 1
    objective.prepare(progress.at)
    tell(training, {"loss": loss, "lr": lr, "grad_norm": norm})


def backward(objective: Objective, update: Update) -> float:
    """Sum of losses over the update's whole count, and its gradients."""
    summed = 0.0
    for micro in update.micros:
        loss = objective.loss(micro) / update.total
        loss.backward()  # type: ignore[no-untyped-call]
        summed += float(loss.detach())
    return summed


def clip(step: Step, named: Mapping[str, Tensor]) -> float:
    """Clip the gradients' norm to max_grad_norm; returns the norm before."""
    most = float(step.fields.get("max_grad_norm", 1.0))
    return float(torch.nn.utils.clip_grad_norm_(list(named.values()), most))


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
        metrics = training.objective.measure()
        if metrics:
            job.measure("during", progress.at, metrics)
        switch(training.objective, training=True)
    stopping = job.stop.is_set()
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
