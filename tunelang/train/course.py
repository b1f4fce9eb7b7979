"""The run of every method that learns from comparisons: load, read, check, train, measure, write.

It knows neither rows nor losses: a `Course` brings both. `ranking` is one over lists, `kto` one
over single judgements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import (
    data,
    engines,
    evaluate,
    gauges,
    loop,
    product,
    reference,
    rows,
    samples,
    stage,
    trainable,
)
from tunelang.train.data import Example, Split
from tunelang.train.engines.engine import Engine
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.likelihood import sums
from tunelang.train.material import mixture
from tunelang.train.model import Loaded
from tunelang.train.reference import Reference
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics
from tunelang.train.trainable import Trained

# log pi - log pi_ref per token at the start, rounding apart: bf16 has 8 bits, and rows that are
# batched otherwise round otherwise.
SAME = {"fp32": 1e-4, "bf16": 5e-2}
LOOKED_AT = 8  # rows of the self-checks


@dataclass(frozen=True)
class Policy:
    """The model that trains, how it is computed, and its reference (None: the loss has none)."""

    trained: Trained
    lens: Lens
    reference: Reference | None

    @property
    def model(self) -> Any:
        return self.trained.model

    @property
    def beside(self) -> list[Any]:
        """Models that only compute."""
        other = self.reference
        return [other.model] if isinstance(other, reference.Frozen) else []


class Course(Protocol):
    """What a method brings: its rows, the loss of a micro-batch, and what is measured."""

    @property
    def needs_reference(self) -> bool:
        """Does the loss compare with another model?"""

    @property
    def foresees(self) -> bool:
        """Is an update made with the model, too?"""

    def encode(self, splits: Sequence[Split[Example]], speech: Speech) -> list[Split[Any]]:
        """Examples as what is trained on; what is left out is told."""

    def spoken(self, example: Example, speech: Speech) -> Row | None:
        """The reply of a row that gates measure likelihood on, None where there is none."""

    def replies(self, one: Any) -> list[Row]:
        """Every reply of one element, for the self-checks."""

    def update(self, policy: Policy, taken: list[Any], micro: int) -> loop.Update:
        """One update over `taken`, in micro-batches of at most `micro`."""

    def loss(self, policy: Policy, micro: Any) -> Tensor:
        """The summed loss of a micro-batch."""

    def measure(self, policy: Policy, measured: Sequence[Any]) -> dict[str, float]:
        """Metrics on held-out elements; empty where there are none."""

    def first(self, taken: Sequence[Any]) -> float | None:
        """The mean loss of `taken` where the policy is its reference, None where rounding says."""


@dataclass(frozen=True)
class Material:
    """What a step learns from, what it is measured on, and the prompts of samples."""

    parts: list[Split[Any]]
    measured: list[Any]
    asked: samples.Asked


def run(step: Step, job: Job, course: Course) -> Metrics:
    """Train, measure before and after, and write the product."""
    start = stage.begin(step, job)
    speech = Speech(start.tokenizer, start.template)
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    job.phase("reading data")
    material = gather(step, job, course, speech, lens)
    gates = gauges.prepare(step, job, lambda example: gauged(course, example, speech, step))
    engine = engines.of(step, job)
    policy = build(step, job, course, start, lens, engine)
    few = data.glance(material.measured, job)
    objective = learn(step, policy, course, material.parts, few)
    training = loop.ready(step, job, objective, engine, policy.beside)
    with engine.whole(policy.model) as model:
        first = samples.first(job, model, material.asked)
    training.compute(lambda: check(step, job, course, policy, material.parts[0].train))

    def taken(policy: Policy) -> dict[str, float]:
        own = course.measure(policy, material.measured)
        return own | gauges.measure(
            gates, own, lambda part: evaluate.measure(policy.model, part, lens)
        )

    at_start = unmoved(step, policy)
    before = stage.before(job, lambda: training.compute(lambda: taken(at_start)))
    series = loop.run(training)
    stage.settle(step, policy.trained, engine)
    metrics = stage.after(step, job, before, lambda: training.compute(lambda: taken(policy)))
    with engine.whole(policy.model) as model:
        shown = samples.compare(job, model, material.asked, first)
    product.write(
        step,
        job,
        product.Finished(
            policy.trained,
            start.tokenizer,
            start.origin,
            metrics,
            speech.template,
            samples=shown,
            series=series,
            weights=training.weights(policy.trained),
        ),
    )
    return metrics


def gather(step: Step, job: Job, course: Course, speech: Speech, lens: Lens) -> Material:
    """Read every row, write it as tokens, and choose what is measured."""
    loaded = data.load(mixture(step), job)
    parts = course.encode(loaded, speech)
    data.need_rows(parts, step)
    data.tell_passes(parts, step, job)
    prompts = [
        rows.asked(example, turns=speech.template is not None)
        for split in loaded
        for example in split.held_out
    ]
    asked = samples.Asked(speech, [one for one in prompts if one], lens)
    return Material(parts, data.spread(parts, job), asked)


def gauged(course: Course, example: Example, speech: Speech, step: Step) -> list[Row]:
    """A row of a gate's data: the good reply of a comparison, all else as sft reads it."""
    if example.kind in ("preference", "ranking", "feedback"):
        found = course.spoken(example, speech)
        return [found] if found else []
    return rows.Writer(speech, step.length or 0, "reply")(example)


def build(
    step: Step, job: Job, course: Course, start: Loaded, lens: Lens, engine: Engine
) -> Policy:
    """The trainable model and its reference."""
    trained = stage.make(step, start)
    trained.model.eval()
    needed = course.needs_reference
    other = reference.reference_of(step, job, trained, lens, engine) if needed else None
    return Policy(trained, lens, other)


def unmoved(step: Step, policy: Policy) -> Policy:
    """The policy before any update: where it started from its reference it is its own, so that
    no score is a difference of roundings."""
    if policy.reference is None or not starts_from_reference(step):
        return policy
    return replace(policy, reference=lambda taken: sums(policy.model, taken, policy.lens))


def starts_from_reference(step: Step) -> bool:
    return step.inputs["reference"] == step.inputs["model"]


def check(step: Step, job: Job, course: Course, policy: Policy, train: Sequence[Any]) -> None:
    """At the start the policy is its reference, and the first loss is the one that follows."""
    taken = list(train[:LOOKED_AT])
    with torch.no_grad():
        loss = mean_loss(course, policy, taken)
    if policy.reference is None:
        finite = ("the first loss is not a number", "")
        job.check("first-loss-finite", loss, math.isfinite(loss), finite)
        return
    if not starts_from_reference(step):
        job.note(f"the reference is not the stage's start: the first loss is {loss:.4f}")
        return
    replies = [reply for one in taken for reply in course.replies(one)]
    band = SAME[policy.lens.precision]
    off = largest_ratio(policy, replies)
    wrong = "the reference is not the model that the stage starts from"
    job.check("reference-is-start", off, off <= band, (wrong, ""))
    expected = course.first(taken)
    if expected is None:
        return
    trouble = (f"the first loss is {loss:.6f}, and {expected:.6f} where nothing has moved", "")
    near = abs(loss - expected) <= band * max(1.0, expected)
    job.check("first-loss", loss, near, trouble)


def mean_loss(course: Course, policy: Policy, taken: list[Any]) -> float:
    """The loss of one update over `taken`."""
    update = course.update(policy, taken, len(taken))
    return sum(float(course.loss(policy, micro)) for micro in update.micros) / update.total


def largest_ratio(policy: Policy, replies: Sequence[Row]) -> float:
    """max |log pi - log pi_ref| over the tokens of a reply."""
    assert policy.reference is not None
    with torch.no_grad():
        gap = sums(policy.model, replies, policy.lens) - policy.reference(replies)
    lengths = torch.tensor([float(row.supervised) for row in replies], device=gap.device)
    return float((gap / lengths).abs().max())


def learn(
    step: Step,
    policy: Policy,
    course: Course,
    parts: Sequence[Split[Any]],
    measured: Sequence[Any],
) -> loop.Objective:
    """The objective of the loop."""
    return loop.Objective(
        {"model": policy.model},
        trainable.parameters(policy.trained),
        lambda at: updates(step, policy, course, parts, at),
        lambda micro: course.loss(policy, micro),
        lambda: course.measure(policy, measured),
        foresees=course.foresees,
    )


def updates(
    step: Step, policy: Policy, course: Course, parts: Sequence[Split[Any]], at: int
) -> Iterator[loop.Update]:
    """The updates from the `at`-th on, rows by the mix; each is made when its turn comes."""
    for taken in stage.drawn(step, parts, at):
        yield course.update(policy, taken, step.place.micro)
