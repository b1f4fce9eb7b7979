"""What gates look at: a step's own metrics, and metrics on other data, under the gate's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunelang.plan.ir import Measure, Step
from tunelang.run.store import write_json
from tunelang.train import data
from tunelang.train.data import Example
from tunelang.train.job import Job


@dataclass(frozen=True)
class Gauge:
    """One gate's measure, and the rows of its data (empty: the step's own metric is meant)."""

    measure: Measure
    rows: list[Any]


def prepare(step: Step, job: Job, write: Callable[[Example], list[Any]]) -> list[Gauge]:
    """Read the data of every gate; a part without held-out rows is measured whole."""
    return [Gauge(gate.measure, rows_of(gate.measure, job, write)) for gate in step.gates]


def rows_of(measure: Measure, job: Job, write: Callable[[Example], list[Any]]) -> list[Any]:
    """The rows one measure is taken on, at most as many as the step's own."""
    if measure.data is None:
        return []
    split = data.load_part(measure.data, job)
    if not split.held_out:
        split = data.Split(split.name, [], split.train)
    return data.spread([data.encode(split, write)], job)


def measure(
    gauges: list[Gauge],
    own: Mapping[str, float],
    take: Callable[[list[Any]], Mapping[str, float]],
) -> dict[str, float]:
    """Value by gate text; one that this method cannot take is left out (an unmeasured gate)."""
    found = {}
    for gauge in gauges:
        values = take(gauge.rows) if gauge.measure.data is not None else own
        if gauge.measure.metric in values:
            found[gauge.measure.text] = values[gauge.measure.metric]
    return found


def before(job: Job, take: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The metrics of the start, taken once: a resumed step reads what the first run noted."""
    path = job.work / "before.json"
    if job.resume is not None and path.is_file():
        noted: dict[str, float] = json.loads(path.read_text("utf-8"))
        return noted
    job.phase("measuring the start")
    metrics = take()
    if job.leads:
        write_json(path, metrics)
    return metrics
