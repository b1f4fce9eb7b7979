"""The fuse pass: neighbouring steps that one worker could run on the base it has in memory.

A note and no more: each step has a worker of its own in this version, so that its memory is given
back and a crash is its own. The note says what that costs.
"""

from __future__ import annotations

from itertools import pairwise

from tunelang.estimate.time import START
from tunelang.plan.ir import Plan, Step, StoreModel
from tunelang.plan.passes.context import Context

GIB = 2**30
# What has to be the same for one worker to go on as it is.
ALIKE = ("device", "gpu", "gpus", "processes", "nodes", "sharding", "offload", "submit")


def fuse(plan: Plan, context: Context) -> Plan:
    """Each step that begins with what the one before it ends with says so."""
    after = {second.name: first for first, second in pairwise(plan.steps)}
    steps = [_noted(step, after.get(step.name)) for step in plan.steps]
    return plan.model_copy(update={"steps": steps})


def _noted(step: Step, before: Step | None) -> Step:
    if before is None or not _on_one_base(before, step):
        return step
    assert step.estimate
    width = 4 if step.precision == "fp32" else 2
    size = width * step.estimate.parameters / GIB
    note = (
        f"starts where `{before.name}` ends: one worker for both would spare {START:.0f} s of "
        f"starting and {size:.1f} GiB of reading; this version starts two"
    )
    place = step.place.model_copy(update={"reasons": [*step.place.reasons, note]})
    return step.model_copy(update={"place": place})


def _on_one_base(before: Step, step: Step) -> bool:
    """Whether a step trains on what the one before it has just trained, in the same place."""
    if not (before.schedule and step.schedule and before.estimate and step.estimate):
        return False
    start = next(iter(step.inputs.values()), None)
    follows = isinstance(start, StoreModel) and start.key == before.key
    same = all(getattr(before.place, name) == getattr(step.place, name) for name in ALIKE)
    return follows and same and before.precision == step.precision and before.product == "lm"
