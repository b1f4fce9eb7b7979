"""`run` for domain_adaptation, sft and instruction_tuning: next-token loss on chosen tokens.

L = -(1/N) sum_i w_i sum_t m_it log p(y_it | y_i<t), N = sum_i w_i sum_t m_it over the whole
accumulated batch (InstructGPT, arXiv 2203.02155, where every row weighs 1). On our own loop rather
than TRL's SFTTrainer: its imports and set-up cost more than a small stage trains, its checkpoints
can be half written, and it holds QLoRA adapters in bf16. tests/proofs/test_trl.py holds this loss
and its updates against TRL's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.train import (
    data,
    evaluate,
    expert_choice,
    forward,
    gauges,
    loop,
    packing,
    product,
    samples,
    stage,
    trainable,
    vocabulary,
)
from tunelang.train.data import Split
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.material import Material as Material
from tunelang.train.material import again, speak, spoken_template
from tunelang.train.material import gather as gather
from tunelang.train.material import mixture as mixture
from tunelang.train.stage import Metrics
from tunelang.train.trainable import Trained


def run(step: Step, job: Job) -> Metrics:
    """Train, measure before and after, and write the product."""
    start = stage.begin(step, job)
    grown = vocabulary.prepare(step, start, job)
    speech = speak(step, job, start)
    job.phase("reading data")
    material = gather(step, job, speech)
    lens = material.lens
    gates = gauges.prepare(step, job, again(material.writer))

    def own_of(model: Any, measured: Sequence[Row]) -> dict[str, float]:
        return own_metrics(step, evaluate.measure(model, measured, lens))

    def taken(model: Any, first: Mapping[str, float] | None = None) -> dict[str, float]:
        own = own_of(model, material.measured)
        own |= evaluate.beside(model, material.beside, lens, first)
        return own | gauges.measure(gates, own, lambda part: evaluate.measure(model, part, lens))

    weights = vocabulary.trained(expert_choice.settled(step, job), grown)
    trained = stage.make(step, start, weights)
    few = data.glance(material.measured, job)
    objective = learn(step, trained, material, lambda: own_of(trained.model, few))
    training = loop.ready(step, job, objective)
    training.compute(lambda: packing.check(job, trained.model, material.parts, lens))
    before = stage.before(job, lambda: training.compute(lambda: taken(trained.model)))
    asked = samples.Asked(speech, material.asked, lens)
    with training.engine.whole(trained.model) as model:
        first = samples.first(job, model, asked)
    series = loop.run(training)
    stage.settle(step, trained, training.engine)
    metrics = stage.after(
        step, job, before, lambda: training.compute(lambda: taken(trained.model, before))
    )
    with training.engine.whole(trained.model) as model:
        shown = samples.compare(job, model, asked, first)
    product.write(
        step,
        job,
        product.Finished(
            trained,
            start.tokenizer,
            start.origin,
            metrics,
            spoken_template(step, speech, start),
            samples=shown,
            series=series,
            weights=training.weights(trained),
        ),
    )
    return metrics


def learn(
    step: Step, trained: Trained, material: Material, taken: Callable[[], dict[str, float]]
) -> loop.Objective:
    """The objective: summed cross-entropy over micro-batches of rows."""

    lens, at_once = material.lens, step.place.loss == "plain"

    def loss(micro: Sequence[Row]) -> Tensor:
        batch = forward.collate(micro, lens.pad, lens.device)
        with forward.autocast(lens.precision, lens.device):
            return forward.loss_sum(trained.model, batch, at_once=at_once)

    return loop.Objective(
        {"model": trained.model},
        trainable.parameters(trained),
        lambda at: updates(step, material.parts, at),
        loss,
        taken,
    )


def updates(step: Step, parts: Sequence[Split[Row]], at: int) -> Iterator[loop.Update]:
    """The updates from the `at`-th on: rows by the mix, micro-batches by like length."""
    return (update(taken, step.place.micro) for taken in stage.drawn(step, parts, at))


def update(taken: Sequence[Row], micro: int) -> loop.Update:
    """One update over these rows."""
    micros = stage.micros(taken, micro, lambda row: len(row.ids))
    return loop.Update(micros, sum(row.mass for row in taken))


def own_metrics(step: Step, measured: dict[str, float]) -> dict[str, float]:
    """The metrics a method reports."""
    if step.method == "domain_adaptation":
        return {name: measured[name] for name in ("loss", "perplexity") if name in measured}
    return measured
