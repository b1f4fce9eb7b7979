"""`run` for multi_task: the tasks of a mix trained as one by sft.py's loop, each measured alone.

Every part of the mix is a task. Its held-out loss and token accuracy stand beside the mean, and so
do those of tasks that are never trained (FLAN, arXiv 2109.01652, measures generalisation so).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunelang.plan.ir import DataPart, Measure, Step
from tunelang.train import (
    data,
    doremi,
    evaluate,
    expert_choice,
    gauges,
    loop,
    machine,
    packing,
    product,
    samples,
    sft,
    stage,
    trainable,
    vocabulary,
)
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.job import Job, fail
from tunelang.train.material import Material, again, gather, mixture, speak
from tunelang.train.stage import Metrics
from tunelang.train.trainable import Trained
from tunelang.train.vocabulary import Grown

Tasks = Mapping[str, Sequence[Row]]
TASK_METRICS = ("loss", "token_accuracy")
LEAST_GLANCE = 4  # rows of a task looked at while training, however many tasks there are


def run(step: Step, job: Job) -> Metrics:
    """Train, measure every task before and after, and write the product."""
    job.phase("loading model")
    grown = begin(step, job)
    start = grown.start
    speech = speak(step, job, start)
    job.phase("reading data")
    material = gather(step, job, speech)
    write = again(material.writer)
    gates = gauges.prepare(step, job, write)
    unseen = held_out(step, job, material, write)
    tasks = {**trained_tasks(material, job), **unseen}

    def taken(model: Any) -> dict[str, float]:
        own = measure(model, material.measured, tasks, material.lens)
        own |= evaluate.beside(model, material.beside, material.lens)
        take = lambda rows: evaluate.measure(model, rows, material.lens)  # noqa: E731
        return own | gauges.measure(gates, own, take)

    mixed, reports = shared(step, job, material)
    trained = stage.make(step, start, vocabulary.trained(expert_choice.settled(step, job), grown))
    few, each = glanced(material, tasks, job)

    def looked() -> dict[str, float]:
        return measure(trained.model, few, each, material.lens)

    training = loop.ready(step, job, sft.learn(mixed, trained, material, looked))
    training.compute(lambda: packing.check(job, trained.model, material.parts, material.lens))
    before = stage.before(job, lambda: training.compute(lambda: taken(trained.model)))
    asked = samples.Asked(speech, material.asked, material.lens)
    with training.engine.whole(trained.model) as model:
        first = samples.first(job, model, asked)
    series = loop.run(training)
    stage.settle(step, trained, training.engine)
    metrics = stage.after(step, job, before, lambda: training.compute(lambda: taken(trained.model)))
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
            speech.template,
            samples=shown,
            series=series,
            weights=training.weights(trained),
            reports=reports,
        ),
    )
    return metrics


def begin(step: Step, job: Job) -> Grown:
    """The model the step starts from, with the tokens that it adds."""
    return vocabulary.prepare(step, stage.loaded(step, job, "model"), job)


def shared(step: Step, job: Job, material: Material) -> tuple[Step, dict[str, Any]]:
    """The step with the shares it trains in, and what is kept of the search for them."""
    if step.fields["shares"]["kind"] == "mix":
        return step, {}
    if len(material.parts) == 1:
        job.note("one task is trained: there are no shares to search")
        return step, {}
    if job.world > 1:
        help = "search them in one process, and write them down as the shares of the mix"
        fail("TL714", "backend-cannot", "`shares = doremi` is found by one process", help)

    def fresh() -> Trained:
        machine.seed(step.seed)
        grown = begin(step, job)
        return trainable.make_trainable(
            grown.start, vocabulary.trained(expert_choice.settled(step, job), grown)
        )

    found = doremi.found(doremi.Search(step, job, material.parts, material.lens, fresh))
    fresh_mix = doremi.applied(mixture(step), found)
    told = zip(found.tasks, found.shares, found.reference, strict=True)
    shares = "; ".join(f"`{name}` {share:.1%} (mix: {was:.1%})" for name, share, was in told)
    job.note(f"doremi: shares of tokens are {shares}")
    mixed = step.model_copy(update={"data": fresh_mix})
    data.tell_passes(material.parts, mixed, job)
    return mixed, {doremi.PAGE: vars(found)}


def trained_tasks(material: Material, job: Job) -> dict[str, list[Row]]:
    """The held-out rows of every trained task, as a gate on that task would take them."""
    found = {}
    for split in material.parts:
        if split.held_out:
            found[f"{split.name}.hold_out"] = data.spread([split], job)
        else:
            job.note(f"`{split.name}` has no held-out rows: it is trained and not measured")
    return found


def held_out(step: Step, job: Job, material: Material, write: Any) -> dict[str, list[Row]]:
    """The rows of tasks that are never trained; the step fails where one of them is."""
    tasks = {
        name_of(part): gauges.rows_of(Measure(text="", metric="loss", data=part), job, write)
        for part in mixture(step).held_out
    }
    for name, rows in tasks.items():
        never_trained(job, name, rows, material.parts)
    return tasks


def name_of(part: DataPart) -> str:
    """How a gate would name what is measured: all rows where none are set aside."""
    return f"{part.name}.hold_out" if part.hold_out else part.name


def never_trained(job: Job, name: str, rows: Sequence[Row], parts: Sequence[Split[Row]]) -> None:
    """A held-out task shares no row with what is trained."""
    known = {tuple(row.ids) for part in parts for row in part.train}
    both = sum(tuple(row.ids) in known for row in rows)
    trouble = (f"{both} rows of `{name}` are trained as another task's", "take them out of it")
    job.check("held-out-tasks-not-trained", both, both == 0, trouble)


def measure(model: Any, rows: Sequence[Row], tasks: Tasks, lens: Lens) -> dict[str, float]:
    """Metrics over the trained tasks together, then `loss(task)` and the like of every task."""
    found = evaluate.measure(model, rows, lens)
    for name, own in tasks.items():
        values = evaluate.measure(model, own, lens)
        found |= {f"{metric}({name})": values[metric] for metric in TASK_METRICS if own}
    return found


def glanced(material: Material, tasks: Tasks, job: Job) -> tuple[Sequence[Row], Tasks]:
    """The few rows, of all tasks together and of each, that are looked at while training."""
    most = max(LEAST_GLANCE, data.GLANCE // max(1, len(tasks)))
    if any(len(rows) > most for rows in tasks.values()):
        job.note(f"while training, {most} held-out rows of each task are looked at")
    return data.glance(material.measured, job), {name: rows[:most] for name, rows in tasks.items()}
