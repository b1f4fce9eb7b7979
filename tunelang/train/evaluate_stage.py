"""`run` for evaluate: figures of a model on rows, its gates' too, and every answer it gave.

Held-out rows are measured; all of a part that holds none out. Nothing is left out in silence.
"""

from __future__ import annotations

from typing import Any

from tunelang.methods.evaluate import DEFAULTS
from tunelang.plan.ir import DataPart, Step
from tunelang.run.store import room, write_json
from tunelang.train import data, generate_stage, measured, product, rated, speech
from tunelang.train.data import Example
from tunelang.train.job import Job, fail
from tunelang.train.material import mixture
from tunelang.train.measured import Set
from tunelang.train.samples import as_text
from tunelang.train.stage import Metrics

ANSWERS = "answers.jsonl"
SHOWN = 3


def run(step: Step, job: Job) -> Metrics:
    """Measure, and write what was found."""
    job.phase("reading data")
    kind = kind_of(step, job)
    sets = [Set("", own_rows(step, job), wanted(step, kind)), *gates(step, job)]
    if kind in ("reward", "classifier"):
        rated.measure(step, job, kind, sets)
    else:
        measured.measure(step, job, sets)
    after = told(step, sets)
    job.measure("after", len(sets[0].rows), after, f"{len(sets[0].rows)} rows")
    metrics = {"before": {}, "after": after}
    write(step, job, sets[0], metrics)
    return metrics


def kind_of(step: Step, job: Job) -> str:
    """What is measured: lm, prompted, reward or classifier."""
    ref = step.inputs["model"]
    return str(job.store.product(ref.key)["kind"]) if ref.kind == "store" else "lm"


def wanted(step: Step, kind: str) -> frozenset[str]:
    """The metrics of the step's own rows: those it names, else the usual ones, and its gates'."""
    named = step.fields.get("metrics") or DEFAULTS[kind]
    gated = [gate.measure.metric for gate in step.gates if gate.measure.data is None]
    return frozenset([*named, *gated])


def own_rows(step: Step, job: Job) -> list[Example]:
    """The rows that are measured; TL312 where there is none."""
    found = [row for part in mixture(step).parts for row in held_out(part, job)]
    if not found:
        fail("TL312", "empty-after-filters", f"`{step.name}` has no row to measure on")
    return found


def held_out(part: DataPart, job: Job) -> list[Example]:
    """Rows that were set aside, else all of them, and which of the two is said."""
    split = data.load_part(part, job)
    aside = len(split.held_out)
    said = f"the {aside} rows that are held out" if aside else f"all {len(split.train)} rows"
    job.note(f"`{part.name}`: measured on {said}")
    return split.held_out or split.train


def gates(step: Step, job: Job) -> list[Set]:
    """A set for every gate that is taken on other rows."""
    return [
        Set(gate.measure.text, held_out(gate.measure.data, job), frozenset([gate.measure.metric]))
        for gate in step.gates
        if gate.measure.data is not None
    ]


def told(step: Step, sets: list[Set]) -> dict[str, float]:
    """The own figures by metric, and under each gate's words the figure it compares."""
    found = dict(sets[0].figures)
    named = {each.name: each.figures for each in sets}
    for gate in step.gates:
        figures = named.get(gate.measure.text, sets[0].figures)
        if gate.measure.metric in figures:
            found[gate.measure.text] = figures[gate.measure.metric]
    return found


def write(step: Step, job: Job, own: Set, metrics: Metrics) -> None:
    """metrics.json, answers.jsonl, samples.json and product.json."""
    job.phase("saving")
    folder = product.begin(job)
    answers = [answer(own, at) for at in range(len(own.said))]
    shown = [
        {"prompt": as_text(each["prompt"]), "after": each["answer"]} for each in answers[:SHOWN]
    ]
    with room(job.home, f"the figures of `{step.name}` cannot be written"):
        if answers:
            generate_stage.lines(folder / ANSWERS, answers)
            write_json(folder / "samples.json", shown)
        product.describe(step, job, {**product.NO_MODEL, "rows": len(own.rows)})
        write_json(folder / "metrics.json", {**metrics, "series": []})
        product.close(step, job)


def answer(own: Set, at: int) -> dict[str, Any]:
    """A question, what was answered, what it was compared with, and its own figures."""
    row = {"prompt": own.asked[at].words, "answer": own.said[at].text, "ended": own.said[at].ended}
    reference = speech.said(own.asked[at].example.values)
    row |= {"reference": reference} if reference is not None else {}
    row |= {"versus": own.other[at].text} if own.other else {}
    row |= {name: values[at] for name, values in own.each.items()}
    return {**row, "from": own.asked[at].example.place}
