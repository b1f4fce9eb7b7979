"""`run` for few_shot by contrast: SetFit on a language model's mean-pooled states.

The body learns sum over pairs of (cos(u, v) - [same label])^2 (sentence-transformers'
CosineSimilarityLoss), then a logistic head is fitted to the vectors of the training rows.
Tunstall et al. 2022 (arXiv 2209.11055).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import (
    classifier,
    data,
    gauges,
    labelled,
    loop,
    machine,
    pairing,
    product,
    sft,
    stage,
    trainable,
)
from tunelang.train.classifier import Classifier, Sample
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job
from tunelang.train.model import Loaded, load
from tunelang.train.pairing import Two
from tunelang.train.speech import Speech
from tunelang.train.trainable import Trained

Metrics = dict[str, dict[str, float]]
POOLING = "mean"  # of the sentence encoders that SetFit starts from
PENALTY = 0.5  # of |W|^2 beside the summed loss: scikit-learn's LogisticRegression at C = 1
ROUNDS = 1000  # of L-BFGS at most; a hundred is usual


@dataclass(frozen=True)
class Twin:
    """Two rows as tokens, and whether their labels are the same."""

    one: list[int]
    other: list[int]
    like: bool

    @property
    def longest(self) -> int:
        return max(len(self.one), len(self.other))


@dataclass(frozen=True)
class Rows:
    """The rows of all parts: what is trained on, and what is measured."""

    labels: tuple[str, ...]
    train: list[Sample]
    measured: list[Sample]


def run(step: Step, job: Job) -> Metrics:
    """Teach the body by pairs, fit the head, measure before and after, write the product."""
    job.phase("loading model")
    start = load(
        step.inputs["model"],
        job,
        precision=trainable.storage(step),
        quant=trainable.quantised(step),
    )
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    job.phase("reading data")
    rows, writer = read(step, job, start)
    gates = gauges.prepare(step, job, writer)

    def taken(model: Any) -> dict[str, float]:
        fitted = fit(model, rows, lens)
        own = classifier.measure(fitted, rows.measured)
        return own | gauges.measure(gates, own, lambda part: classifier.measure(fitted, part))

    before = gauges.before(job, lambda: taken(start.model))
    job.measure("before", 0, before)
    machine.seed(step.seed)
    trained = trainable.make_trainable(start, stage.weights_of(step))
    stage.enable_recompute(step, trained)
    few = Rows(rows.labels, rows.train, list(data.glance(rows.measured, job)))
    series = loop.train(step, job, learn(step, trained, few, lens))
    stage.settle(step, trained)
    job.phase("fitting the head")
    metrics = {"before": before, "after": taken(trained.model)}
    job.measure("after", loop.schedule_of(step).steps, metrics["after"])
    kept = classifier.kept(fit(trained.model, rows, lens))
    finished = product.Finished(
        trained,
        start.tokenizer,
        start.origin,
        metrics,
        None,
        series=series,
        tensors=kept["tensors"],
        more=kept["more"],
    )
    product.write(step, job, finished)
    return metrics


def read(step: Step, job: Job, start: Loaded) -> tuple[Rows, labelled.Writer]:
    """All rows as tokens with the number of their class; pairs are told, and doubles warned of."""
    loaded = data.load(sft.mixture(step), job)
    labels = labelled.classes(loaded, job)
    numbers = {name: at for at, name in enumerate(labels)}
    writer = labelled.Writer(Speech(start.tokenizer, None), step.length or 0, numbers)
    parts = [data.encode(split, writer) for split in loaded]
    labelled.report(writer, job)
    data.need_rows(parts, step)
    if len(parts) > 1:
        job.note("rows of all parts are paired with each other: the shares of the mix do not count")
    rows = Rows(labels, [row for part in parts for row in part.train], data.spread(parts, job))
    known = {tuple(row.ids) for row in rows.train}
    seen = sum(tuple(row.ids) in known for row in rows.measured)
    if seen:
        job.warn(f"{seen} of {len(rows.measured)} held-out texts are trained on too")
    found = pairing.pairs([row.label for row in rows.train])
    job.note(f"{len(found.like)} pairs with one label and {len(found.unlike)} with two")
    return rows, labelled.Writer(writer.speech, writer.length, numbers)


def learn(step: Step, trained: Trained, rows: Rows, lens: Lens) -> loop.Objective:
    """The objective: summed squared errors of cosines."""
    return loop.Objective(
        {"model": trained.model},
        trainable.parameters(trained),
        lambda at: updates(step, rows.train, at),
        lambda micro: twin_loss(trained.model, micro, lens),
        lambda: classifier.measure(fit(trained.model, rows, lens), rows.measured),
    )


def twin_loss(model: Any, twins: Sequence[Twin], lens: Lens) -> Tensor:
    """The summed loss of pairs, both sides in one forward pass."""
    ids = [twin.one for twin in twins] + [twin.other for twin in twins]
    found = classifier.features(model, ids, POOLING, lens)
    same = torch.tensor([float(twin.like) for twin in twins], device=found.device)
    return cosine_sum(found[: len(twins)], found[len(twins) :], same)


def cosine_sum(one: Tensor, other: Tensor, same: Tensor) -> Tensor:
    """sum_p (cos(u_p, v_p) - s_p)^2; u and v [P, H], s [P] of 0 and 1 -> []."""
    return (F.cosine_similarity(one, other, dim=-1) - same).square().sum()


def updates(step: Step, rows: Sequence[Sample], at: int) -> Iterator[loop.Update]:
    """The updates from the `at`-th on; micro-batches hold pairs of like length."""
    size, micro = stage.batch_of(step).size, step.place.micro
    among = pairing.pairs([row.label for row in rows])
    stream = pairing.drawn(among, str(step.fields["mode"]["pairs"]), step.seed)
    stream = islice(stream, at * size, None)
    while True:
        taken = [twin(rows, two, like) for two, like in islice(stream, size)]
        taken.sort(key=lambda each: each.longest)
        micros = [taken[start : start + micro] for start in range(0, size, micro)]
        yield loop.Update(micros, float(size))


def twin(rows: Sequence[Sample], two: Two, like: bool) -> Twin:
    """A pair of rows as tokens."""
    return Twin(rows[two[0]].ids, rows[two[1]].ids, like)


def fit(model: Any, rows: Rows, lens: Lens) -> Classifier:
    """A classifier of this body with the logistic head that fits the training rows."""
    made = classifier.fresh(model, rows.labels, POOLING, lens)
    found = classifier.features_of(model, [row.ids for row in rows.train], POOLING, lens)
    truth = torch.tensor([row.label for row in rows.train], device=found.device)
    weight, bias = logistic(found.double(), truth, len(rows.labels))
    with torch.no_grad():
        made.head.weight.copy_(weight)
        made.head.bias.copy_(bias)
    return made


def logistic(found: Tensor, truth: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """W [C, H] and b [C] that minimise summed cross-entropy + |W|^2 / 2; vectors [N, H] in fp64.

    The problem is convex: L-BFGS from zero finds the one minimum, with no rate to choose.
    """
    weight = torch.zeros(classes, found.shape[1], dtype=found.dtype, device=found.device)
    bias = torch.zeros(classes, dtype=found.dtype, device=found.device)
    both = [weight.requires_grad_(True), bias.requires_grad_(True)]
    search = torch.optim.LBFGS(
        both,
        max_iter=ROUNDS,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        search.zero_grad()
        total = objective(found, truth, weight, bias)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with torch.enable_grad():
        search.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def objective(found: Tensor, truth: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Summed cross-entropy of a linear head and half its squared norm."""
    scored = found @ weight.T + bias
    return F.cross_entropy(scored, truth, reduction="sum") + PENALTY * weight.square().sum()
