"""The share pass: which roles of a step stand on one base in memory, and what that spares.

The worker shares a base wherever that is exact (train/roles.py, train/reference.py): the reference
is the policy with its adapter off, the value and reward models are adapters beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.estimate.layout import Layout
from tunelang.estimate.needs import load_of, roles_of
from tunelang.estimate.roles import Roles
from tunelang.estimate.states import weight_bytes
from tunelang.estimate.work import Work
from tunelang.plan.ir import Plan, Step
from tunelang.plan.passes.context import Context

GIB = 2**30
ON_THE_BASE = ("adapter_off", "adapter")


def share(plan: Plan, context: Context) -> Plan:
    """The reasons of every step with other roles beside what trains."""
    return plan.model_copy(update={"steps": [_told(step, context) for step in plan.steps]})


def _told(step: Step, context: Context) -> Step:
    if step.name not in context.works or step.estimate is None:
        return step
    work, _ = context.works[step.name]
    lines = list(_lines(work, step))
    place = step.place.model_copy(update={"reasons": [*step.place.reasons, *lines]})
    return step.model_copy(update={"place": place})


def _lines(work: Work, step: Step) -> Iterator[str]:
    roles = roles_of(work)
    shared, own = _held(roles, ON_THE_BASE), _held(roles, ("own",))
    size = _base(work, step) / GIB
    if shared:
        spared = f"{len(shared) * size:.1f} GiB less than models of their own would take"
        yield f"{_names(shared)} on the base of what trains: {spared}"
    if own:
        why = "every weight trains" if work.weights == "full" else "they rest on other weights"
        number = "models of their own" if len(own) > 1 else "a model of its own"
        yield f"{_names(own)}: {number}, {size:.1f} GiB of weights each on a device, as {why}"
    if roles.reference == "computed":
        yield f"no reference in memory: its log-probabilities are computed, {size:.1f} GiB less"


def _held(roles: Roles, how: tuple[str, ...]) -> list[str]:
    named = {"reference": roles.reference, "value": roles.critic, "reward": roles.judge}
    return [name for name, held in named.items() if held in how]


def _names(names: list[str]) -> str:
    """`reference, value and reward`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _base(work: Work, step: Step) -> float:
    """Bytes of the resting weights of one model on one device, adapters left out."""
    place = step.place
    layout = Layout(1, devices=place.processes, sharding=place.sharding, offload=place.offload)
    load = load_of(work, layout)
    return weight_bytes(load) - (0.0 if work.weights == "full" else 4.0 * work.trained)
