"""`run` for domain_adaptation, sft and instruction_tuning: next-token loss on chosen tokens.

L = -(1/N) sum_t m_t log p(y_t | y_<t), N over the whole accumulated batch (InstructGPT, arXiv
2203.02155). On our own loop rather than TRL's SFTTrainer: its imports and set-up cost more than a
small stage trains, its checkpoints can be half written, and it holds QLoRA adapters in bf16.
tests/proofs/test_trl.py holds this loss and its updates against TRL's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch import Tensor

from tunelang.plan.ir import Batch, Mixture, Step
from tunelang.train import (
    data,
    evaluate,
    forward,
    gauges,
    loop,
    machine,
    mix,
    packing,
    product,
    rows,
    samples,
    selfcheck,
    templates,
    trainable,
)
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.model import Loaded, cast, load
from tunelang.train.rows import Writer
from tunelang.train.speech import Speech
from tunelang.train.trainable import Trained

Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Material:
    """What a step learns from and is measured on."""

    parts: list[Split[Row]]
    measured: list[Row]
    asked: list[Any]
    writer: Writer
    lens: Lens


def run(step: Step, job: Job) -> Metrics:
    """Train, measure before and after, and write the product."""
    job.phase("loading model")
    start = load(
        step.inputs["model"],
        job,
        precision=trainable.storage(step),
        quant=trainable.quantised(step),
    )
    speech = speak(step, job, start)
    job.phase("reading data")
    material = gather(step, job, speech)
    lens = material.lens
    gates = gauges.prepare(step, job, gate_writer(material.writer))

    def own_of(model: Any, measured: Sequence[Row]) -> dict[str, float]:
        return own_metrics(step, evaluate.measure(model, measured, lens))

    def taken(model: Any) -> dict[str, float]:
        own = own_of(model, material.measured)
        return own | gauges.measure(gates, own, lambda part: evaluate.measure(model, part, lens))

    before = gauges.before(job, lambda: taken(start.model))
    job.measure("before", 0, before)
    asked = samples.Asked(speech, material.asked, lens)
    first = samples.first(job, start.model, asked)
    machine.seed(step.seed)  # the adapter's start depends on nothing that came before
    trained = trainable.make_trainable(start, weights_of(step))
    enable_recompute(step, trained)
    few = data.glance(material.measured, job)
    objective = learn(step, trained, material, lambda: own_of(trained.model, few))
    series = loop.train(step, job, objective)
    settle(step, trained)
    job.phase("measuring")
    metrics = {"before": before, "after": taken(trained.model)}
    job.measure("after", loop.schedule_of(step).steps, metrics["after"])
    shown = samples.compare(job, trained.model, asked, first)
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
        ),
    )
    return metrics


def speak(step: Step, job: Job, start: Loaded) -> Speech:
    """How rows are written: through a chat template for instruction tuning, else as text."""
    if step.method == "instruction_tuning":
        wanted = step.fields.get("template")
        return Speech(start.tokenizer, templates.choose(start.tokenizer, wanted, job))
    return Speech(start.tokenizer, None)


def spoken_template(step: Step, speech: Speech, start: Loaded) -> str | None:
    """The template the product speaks: sft on strings teaches plain text, text teaches none."""
    if step.method == "domain_adaptation":
        return start.template
    return speech.template


def gather(step: Step, job: Job, speech: Speech) -> Material:
    """Read, write as tokens, pack; check the masks."""
    loaded = data.load(mixture(step), job)
    default = "all" if step.method == "domain_adaptation" else "reply"
    writer = Writer(speech, step.length or 0, str(step.fields.get("loss_on", default)))
    encoded = [data.encode(split, writer) for split in loaded]
    rows.report(writer, job, step.name)
    data.need_rows(encoded, step)
    replies = writer.loss_on != "all" and default != "all"
    first = [row for split in encoded for row in split.train]
    selfcheck.masks(job, first, speech.stop, replies=replies)
    measured = data.spread(encoded, job)
    if step.fields.get("packing"):
        encoded = [packed(split, writer.length, job) for split in encoded]
    data.tell_passes(encoded, step, job)
    asked = [
        rows.asked(example, turns=speech.template is not None)
        for split in loaded
        for example in split.held_out
    ]
    lens = Lens(step.precision, job.device, speech.tokenizer.pad_token_id)
    return Material(encoded, measured, [one for one in asked if one is not None], writer, lens)


def gate_writer(writer: Writer) -> Writer:
    """The same writing with a count of its own: the rows of gates are not trained on."""
    return Writer(writer.speech, writer.length, writer.loss_on)


def packed(split: Split[Row], length: int, job: Job) -> Split[Row]:
    """The training rows of a part packed into sequences of at most `length` tokens."""
    sequences = packing.pack(split.train, length)
    job.note(f"`{split.name}`: {len(split.train)} rows are packed into {len(sequences)} sequences")
    return Split(split.name, sequences, split.held_out)


def learn(
    step: Step, trained: Trained, material: Material, taken: Callable[[], dict[str, float]]
) -> loop.Objective:
    """The objective: summed cross-entropy over micro-batches of rows."""

    lens = material.lens

    def loss(micro: Sequence[Row]) -> Tensor:
        batch = forward.collate(micro, lens.pad, lens.device)
        with forward.autocast(lens.precision, lens.device):
            return forward.loss_sum(trained.model, batch)

    return loop.Objective(
        {"model": trained.model},
        trainable.parameters(trained),
        lambda at: updates(step, material.parts, at),
        loss,
        taken,
    )


def updates(step: Step, parts: Sequence[Split[Row]], at: int) -> Iterator[loop.Update]:
    """The updates from the `at`-th on: rows by the mix, micro-batches by like length."""
    sizes = [len(part.train) for part in parts]
    stream = mix.draws(mix.shares(mixture(step), sizes), sizes, step.seed)
    size = batch_of(step).size
    stream = islice(stream, at * size, None)
    while True:
        taken = [parts[part].train[row] for part, row in islice(stream, size)]
        yield update(taken, step.place.micro)


def update(taken: Sequence[Row], micro: int) -> loop.Update:
    """One update: its rows sorted by length, so that a micro-batch holds little padding."""
    ordered = sorted(taken, key=lambda row: len(row.ids))
    micros = [ordered[start : start + micro] for start in range(0, len(ordered), micro)]
    return loop.Update(micros, sum(row.mass for row in taken))


def own_metrics(step: Step, measured: dict[str, float]) -> dict[str, float]:
    """The metrics a method reports."""
    if step.method == "domain_adaptation":
        return {name: measured[name] for name in ("loss", "perplexity") if name in measured}
    return measured


def enable_recompute(step: Step, trained: Trained) -> None:
    """Recompute activations in the backward pass where the plan says so."""
    if step.place.checkpointing:
        forward.causal(trained.model).gradient_checkpointing_enable({"use_reentrant": False})


def settle(step: Step, trained: Trained) -> None:
    """Round fully trained weights to the step's precision: what is measured is what is kept."""
    if trained.adapter is None and step.precision == "bf16":
        cast(trained.model, "bf16")


def mixture(step: Step) -> Mixture:
    if step.data is None:
        msg = f"step {step.name} has no data"
        raise ValueError(msg)
    return step.data


def batch_of(step: Step) -> Batch:
    if step.batch is None:
        msg = f"step {step.name} has no batch"
        raise ValueError(msg)
    return step.batch


def weights_of(step: Step) -> Any:
    if step.weights is None:
        msg = f"step {step.name} trains nothing"
        raise ValueError(msg)
    return step.weights
