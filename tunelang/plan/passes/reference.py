"""The reference pass: a step that computes log-probabilities runs where its stage runs."""

from __future__ import annotations

from tunelang.methods.preference import LOG_PROBS
from tunelang.plan.ir import Place, Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.plan.reference import METHOD


def reference(plan: Plan, context: Context) -> Plan:
    """On the first device of the first stage that reads it."""
    return plan.model_copy(update={"steps": [_placed(step, plan) for step in plan.steps]})


def _placed(step: Step, plan: Plan) -> Step:
    if step.method != METHOD:
        return step
    reader = next(one for one in plan.steps if _reads(one, step))
    return step.model_copy(update={"place": _one_device(reader.place)})


def _reads(step: Step, other: Step) -> bool:
    kept = step.inputs.get(LOG_PROBS)
    return kept is not None and kept.kind == "store" and kept.key == other.key


def _one_device(place: Place) -> Place:
    alone = {"gpus": min(place.gpus, 1), "sharding": "none", "launcher": "local"}
    return place.model_copy(update=alone)
