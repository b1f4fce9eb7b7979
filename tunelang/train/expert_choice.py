"""Which experts a step trains: read from a config, or chosen from the scores of an earlier step."""

from __future__ import annotations

import json
from typing import Any

from tunelang.estimate import experts as scored
from tunelang.estimate.experts import Selection
from tunelang.plan.ir import Step, Weights
from tunelang.train.job import Job, fail

SCORES = "expert_scores.json"
MOST = 0.9  # of all experts: beyond this the choice leaves hardly anything frozen


def settled(step: Step, job: Job) -> Weights:
    """The step's weights; `experts` with the `selection` that its scores lead to."""
    if step.weights is None:
        msg = f"step {step.name} trains nothing"
        raise ValueError(msg)
    if step.weights.kind != "experts":
        return step.weights
    fields = step.weights.fields
    selection, more = named(fields, job) if fields.get("config") else chosen(step, job)
    return step.weights.model_copy(update={"fields": {**fields, **more, "selection": selection}})


def named(fields: dict[str, Any], job: Job) -> tuple[Selection, dict[str, Any]]:
    """The selection of an expert config, which the plan has read."""
    selection, shared = scored.selection_of(fields["config"])
    total = sum(map(len, selection.values()))
    job.note(f"{total} experts of {len(selection)} layers train, as the expert config names them")
    return selection, {"shared": shared or bool(fields.get("shared"))}


def chosen(step: Step, job: Job) -> tuple[Selection, dict[str, Any]]:
    """The selection by the scores of the step's own text."""
    assert step.weights is not None
    ref, fields = step.inputs["scores"], step.weights.fields
    assert ref.kind == "store"
    path = job.store.object(ref.key) / SCORES
    document = json.loads(path.read_text("utf-8"))
    scores = scored.scores_of(document, str(fields["score"]))
    mass = scored.mass_of(fields)
    selection = scored.select(scores, mass)
    tell(selection, document["experts"], f"{mass:.0%} of the {fields['score']} score", job)
    return selection, {}


def tell(selection: Selection, count: int, kept: str, job: Job) -> None:
    """Say how many experts train; fewer than one in a layer cannot be, all is hardly a choice."""
    sizes = [len(experts) for experts in selection.values()]
    if not any(sizes):
        fail("TL733", "nothing-trains", f"no expert is needed for {kept}", "raise `mass`")
    share = sum(sizes) / (count * len(sizes))
    job.note(
        f"{min(sizes)} to {max(sizes)} of {count} experts train in each of {len(sizes)} layers, "
        f"{share:.1%} of all: they bear {kept}"
    )
    if share > MOST:
        job.warn("nearly every expert was chosen: this is full tuning of the experts")
