"""Transfer to a new head that tells classes: from labelled rows to a finished classifier.

L = -(1/N) sum_n log softmax(W pool(h(x_n)) + b)[y_n] over the N rows of an update.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import (
    classifier,
    data,
    gauges,
    labelled,
    loop,
    machine,
    product,
    selfcheck,
    stage,
)
from tunelang.train.classifier import Classifier, Sample
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job
from tunelang.train.losses import cross_entropy_sum
from tunelang.train.material import mixture
from tunelang.train.model import Loaded
from tunelang.train.paced import paced
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics
from tunelang.train.trainable import Trained

SAME = {"fp32": 1e-3, "bf16": 0.25}  # a pooled state of one row alone and in a batch


@dataclass(frozen=True)
class Material:
    """What a classifier learns from and is measured on; `names` are its classes in order."""

    names: tuple[str, ...]
    parts: list[Split[Sample]]
    measured: list[Sample]
    gates: list[gauges.Gauge]


def run(step: Step, job: Job, start: Loaded) -> Metrics:
    """Train, measure before and after, and write the product."""
    job.phase("reading data")
    material = gather(step, job, start)
    trained = body(step, start)
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    made = classifier.fresh(trained.model, material.names, step.fields["head"]["pooling"], lens)
    check(job, made, material.parts[0].train[: step.place.micro])

    def taken() -> dict[str, float]:
        own = classifier.measure(made, material.measured)
        return own | gauges.measure(
            material.gates, own, lambda rows: classifier.measure(made, rows)
        )

    before = stage.before(job, taken)
    objective = learn(step, made, material, data.glance(material.measured, job))
    series = loop.train(step, job, paced(step, job, objective, made.head, len))
    if not trained.untouched:
        stage.settle(step, trained)
    metrics = stage.after(step, job, before, taken)
    finished = product.Finished(
        trained,
        start.tokenizer,
        start.origin,
        metrics,
        start.template,
        series=series,
        **classifier.kept(made),
    )
    product.write(step, job, finished)
    return metrics


def gather(step: Step, job: Job, start: Loaded) -> Material:
    """Read the rows, find their classes, write them as tokens."""
    loaded = data.load(mixture(step), job)
    names = labelled.classes(loaded, job)
    numbers = {name: number for number, name in enumerate(names)}
    writer = labelled.Writer(Speech(start.tokenizer, None), step.length or 0, numbers)
    parts = [data.encode(split, writer) for split in loaded]
    labelled.report(writer, job)
    data.need_rows(parts, step)
    data.tell_passes(parts, step, job)
    measured = data.spread(parts, job)
    return Material(names, parts, measured, gauges.prepare(step, job, writer))


def body(step: Step, start: Loaded) -> Trained:
    """What trains below the head; with `weights = head` nothing does.

    Another vocabulary has changed the body already, so that it is saved whole.
    """
    if stage.weights_of(step).kind != "head":
        return stage.make(step, start)
    trained = Trained(start.model, None, start.attached, untouched="tokenizer" not in step.inputs)
    machine.seed(step.seed)
    stage.enable_recompute(step, trained)
    return trained


def learn(
    step: Step, made: Classifier, material: Material, measured: Sequence[Sample]
) -> loop.Objective:
    """The objective: summed cross-entropy over rows; `paced` says what trains."""

    def loss(micro: Sequence[Sample]) -> Tensor:
        labels = torch.tensor([row.label for row in micro], device=made.lens.device)
        return cross_entropy_sum(classifier.logits(made, [row.ids for row in micro]), labels)

    return loop.Objective(
        {"model": made.model, "head": made.head},
        {},
        lambda at: updates(step, material.parts, at),
        loss,
        lambda: classifier.measure(made, measured),
    )


def updates(step: Step, parts: Sequence[Split[Sample]], at: int) -> Iterator[loop.Update]:
    """The updates from the `at`-th on, by the mix."""
    for taken in stage.drawn(step, parts, at):
        micros = stage.micros(taken, step.place.micro, lambda row: len(row.ids))
        yield loop.Update(micros, float(len(taken)))


def check(job: Job, made: Classifier, rows: Sequence[Sample]) -> None:
    """The first loss is ln C, and a row's pooled state does not depend on its neighbours."""
    ids = [row.ids for row in rows]
    loss = classifier.measure(made, rows)["loss"]
    off = abs(loss - math.log(len(made.labels)))
    trouble = (f"the first loss is {loss:.4f}, not ln {len(made.labels)}", "")
    job.check("first-loss-is-ln-c", loss, off < 1e-4, trouble)
    with torch.no_grad():
        together = classifier.features(made.model, ids, made.pooling, made.lens)
        alone = classifier.features(made.model, ids[:1], made.pooling, made.lens)
    selfcheck.same_alone(job, alone, together[:1], SAME[made.lens.precision])
