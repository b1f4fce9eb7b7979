"""`run` for transfer: a head of classes, or the language model's own, on a body that has learnt.

The loss is a summed cross-entropy: over the labels of rows, or over tokens as in sft. What is of
transfer alone (groups, rates, unfreezing, L2-SP) is in paced.py, the other vocabulary in remap.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunelang.plan.ir import Step
from tunelang.train import (
    data,
    evaluate,
    gauges,
    loop,
    material,
    product,
    remap,
    samples,
    sft,
    stage,
    telling,
    trainable,
)
from tunelang.train.folders import origin, tokenizer_folder
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.model import Loaded, load, read_tokenizer
from tunelang.train.paced import paced
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics


def run(step: Step, job: Job) -> Metrics:
    """Load the body, with another vocabulary where the recipe names one, and train its head."""
    job.phase("loading model")
    frozen = step.product == "classifier" and stage.weights_of(step).kind == "head"
    precision = step.precision if frozen else trainable.storage(step)
    start = load(step.inputs["model"], job, precision=precision)
    if "tokenizer" in step.inputs:
        known = origin(step.inputs["tokenizer"], job)
        start = remap.remap(start, read_tokenizer(tokenizer_folder(known, job)), job)
    if step.product == "classifier":
        return telling.run(step, job, start)
    return speaking(step, job, start)


def speaking(step: Step, job: Job, start: Loaded) -> Metrics:
    """A language model that stays one: text trains every token, prompts with replies the reply."""
    spoken = Speech(start.tokenizer, None)
    step = step.model_copy(update={"fields": {**step.fields, "loss_on": loss_on(step)}})
    job.phase("reading data")
    rows = material.gather(step, job, spoken)
    gates = gauges.prepare(step, job, material.again(rows.writer))
    lens = rows.lens

    def taken(model: Any) -> dict[str, float]:
        own = evaluate.measure(model, rows.measured, lens)
        return own | gauges.measure(gates, own, lambda part: evaluate.measure(model, part, lens))

    before = stage.before(job, lambda: taken(start.model))
    asked = samples.Asked(spoken, rows.asked, lens)
    first = samples.first(job, start.model, asked)
    trained = stage.make(step, start)
    few = data.glance(rows.measured, job)
    objective = sft.learn(step, trained, rows, lambda: evaluate.measure(trained.model, few, lens))
    series = loop.train(step, job, paced(step, job, objective, None, mass))
    stage.settle(step, trained)
    metrics = stage.after(step, job, before, lambda: taken(trained.model))
    shown = samples.compare(job, trained.model, asked, first)
    template = start.template if loss_on(step) == "all" else None
    finished = product.Finished(
        trained, start.tokenizer, start.origin, metrics, template, samples=shown, series=series
    )
    product.write(step, job, finished)
    return metrics


def loss_on(step: Step) -> str:
    """Text trains every token; a prompt is not trained."""
    kinds = {part.format.kind for part in material.mixture(step).parts}
    return "all" if kinds == {"text"} else "reply"


def mass(micro: Sequence[Row]) -> float:
    """What a micro-batch counts of its update's total, as `sft.update` counts it."""
    return sum(row.mass for row in micro)
