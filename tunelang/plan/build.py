"""Recipe -> Plan: one step per stage, and one per model that must be converted or made first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as slot
from operator import attrgetter
from typing import Any

from tunelang.diagnostic import Diagnostic
from tunelang.estimate.calibration import Calibration
from tunelang.estimate.machine import Machine
from tunelang.estimate.work import Work
from tunelang.plan import experts, later
from tunelang.plan.bases import NOWHERE, bases
from tunelang.plan.checks import check as check_plan
from tunelang.plan.data import Earlier, count, data_part, mixture_of
from tunelang.plan.ir import (
    Budget,
    Gate,
    Measure,
    Mixture,
    ModelRef,
    Plan,
    Step,
    StoreModel,
    Weights,
)
from tunelang.plan.keys import key_of, stack
from tunelang.plan.models import Base
from tunelang.plan.passes import apply
from tunelang.plan.passes.context import Context
from tunelang.plan.reference import Around, arranged
from tunelang.plan.replay import general_of, text_part, with_replay
from tunelang.plan.schedule import Extent, Stretches, batch_of, schedule_of
from tunelang.plan.tasks import with_held_out
from tunelang.plan.wordings import worded
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Recipe, Ref
from tunelang.recipe.typed import flat
from tunelang.rules.speech import template_text
from tunelang.rules.stages import data_of, reference
from tunelang.units import Quantity

# Fields with a slot of their own in Step; all others go into Step.fields.
SLOTS = (
    "weights",
    "train",
    "batch",
    "length",
    "lr",
    "schedule",
    "precision",
    "seed",
    "on",
    "micro",
    "eval_every",
    "save_every",
    "rollout.batch",
)


@dataclass
class Building:
    """A plan under construction: finished steps by name, bases by model name, findings."""

    recipe: Recipe
    found: list[Diagnostic] = slot(default_factory=list)
    steps: dict[str, Step] = slot(default_factory=dict)
    bases: dict[str, Base] = slot(default_factory=dict)
    stack: dict[str, str] = slot(default_factory=stack)
    extents: dict[str, Extent] = slot(default_factory=dict)


def build(
    recipe: Recipe,
    calibrations: Mapping[str, Calibration] | None = None,
    works: dict[str, tuple[Work, Machine]] | None = None,
) -> tuple[Plan | None, list[Diagnostic]]:
    """The plan of a sound recipe, and what only planning can find; no plan without all steps.

    Passes use the `calibrations` of devices, and put what they fitted into `works` (Context).
    """
    building = Building(recipe)
    before = bases(recipe, building.stack, building.found)
    building.bases, building.steps = before.known, before.steps
    for stage in graph.in_order(recipe):
        step = _step(stage, building)
        known = (building.steps.values(), building.found)
        building.steps |= {each.name: each for each in experts.steps(step, stage, recipe, known)}
    steps, budget = list(building.steps.values()), _budget(recipe)
    plan = Plan(recipe=recipe.source.name, profile=recipe.profile, steps=steps, budget=budget)
    around = (building.bases, building.extents, building.found)
    context = Context(recipe, *around, calibrations or {}, {} if works is None else works)
    plan = apply(plan, context)
    building.found += check_plan(plan, context)
    whole = all(name in building.steps for name in recipe.stages)
    return (plan if whole else None), building.found


def _budget(recipe: Recipe) -> Budget:
    limits = {name: float(given.value.amount) for name, given in recipe.budget.items()}
    return Budget(dollars=limits.get("cost"), seconds=limits.get("time"))


def _step(stage: Declared, building: Building) -> Step | None:
    method = stage.method
    assert method is not None
    inputs = _inputs(stage, building)
    mixture, extent = _read(stage, building)
    if inputs is None or (mixture is None and method.data_field):
        return None
    batch = batch_of(stage, building.found) if method.trains else None
    schedule = schedule_of(stage, batch, extent, building.found) if batch and extent else None
    if method.trains and schedule is None:
        return None
    stretches = Stretches(stage, batch, schedule, extent, building.found)
    fields = _fields(stage, building.recipe, stretches)
    if stretches.uncounted:
        return None
    step = _bare(stage, building, inputs).model_copy(
        update={"data": mixture, "batch": batch, "schedule": schedule, "fields": fields}
    )
    step = worded(step, stage, building.recipe)
    step = arranged(step, stage, Around(building.recipe, building.steps, extent))
    return step.model_copy(update={"key": key_of(step)})


def _read(stage: Declared, building: Building) -> tuple[Mixture | None, Extent | None]:
    """What a stage reads: its own rows, those it replays, and tasks it only measures."""
    earlier = Earlier(building.steps, building.extents)
    rows = mixture_of(stage, building.recipe, building.found, earlier)
    mixture, extent = with_replay(stage, building.recipe, building.found, rows)
    if extent:
        building.extents[stage.name] = extent
    return with_held_out(stage, building.recipe, building.found, mixture), extent


def _bare(stage: Declared, building: Building, inputs: dict[str, ModelRef]) -> Step:
    """The step of a stage, its rows, its timing and the method's own fields left out."""
    method = stage.method
    assert method is not None
    weights: Choice | None = stage.get("weights")
    length: Quantity | None = stage.get("length")
    return Step(
        name=stage.name,
        method=method.name,
        method_version=method.version,
        worker=method.worker,
        key="",
        product=stage.product or method.product,
        seed=stage.get("seed") or 0,
        precision=str(stage.get("precision") or "fp32"),  # type: ignore[arg-type]
        inputs=inputs,
        weights=Weights(kind=weights.name, fields=_plain_choice(weights)) if weights else None,
        length=int(length.amount) if length else None,
        lr=stage.get("lr"),
        fields={},
        later=later.asked(stage, building.recipe),
        gates=_gates(stage, building),
        general=general_of(stage, building.recipe, building.found),
        pretraining=text_part("pretraining.data", stage, building.recipe, building.found),
        stack=building.stack,
        place=NOWHERE,
        after=_after(stage, building),
    )


def _inputs(stage: Declared, building: Building) -> dict[str, ModelRef] | None:
    """What each role loads; the reference is the stage's own start unless it is named."""
    assert stage.method is not None
    refs = {role: reference(stage, role) for role in stage.method.inputs}
    if "reference" in refs and refs["reference"] is None:
        refs["reference"] = refs[stage.method.inputs[0]]
    found = {role: _model_ref(ref, building) for role, ref in refs.items() if ref}
    models = {role: ref for role, ref in found.items() if ref is not None}
    return models if len(models) == len(found) else None


def _model_ref(ref: Ref, building: Building) -> ModelRef | None:
    if ref.name in building.steps:
        return StoreModel(key=building.steps[ref.name].key)
    base = building.bases.get(ref.name)
    return base.ref if base else None


def _after(stage: Declared, building: Building) -> list[str]:
    """The steps that a stage waits for: what it loads, and what makes its rows."""
    assert stage.method is not None
    names = [ref.name for role in stage.method.inputs if (ref := reference(stage, role))]
    names += [part.name for part in data_of(stage, building.recipe)]
    return [name for name in dict.fromkeys(names) if name in building.steps]


def _fields(
    stage: Declared, recipe: Recipe, measured: Callable[[Quantity], float]
) -> dict[str, Any]:
    """The method's own values as nested plain JSON, stretches of training in steps.

    What waits for a later version is left out unless it is asked for: a field that joins the
    language changes no key.
    """
    assert stage.method is not None
    cleaning = later.cleaning(stage, recipe)
    nested: dict[str, Any] = {"cleaning": cleaning} if cleaning else {}
    skip = {*SLOTS, *_loaded(stage), stage.method.data_field}
    for path, field in flat(stage.method.fields).items():
        waits = field.later and not later.is_later(field, stage.values.get(path))
        if path in skip or waits or not field.key:
            continue
        head, _, last = path.rpartition(".")
        value = stage.get(path)
        target = nested.setdefault(head, {}) if head else nested
        target[last] = _role(stage, path) if path == "value.from" else _plain(value, measured)
    text = template_text(recipe, stage)  # a file may change, and may lie elsewhere for a worker
    return {**nested, "template": text} if text else nested


def _loaded(stage: Declared) -> list[str]:
    """Inputs that are models or left out; a reward may be a function, which is a value."""
    assert stage.method is not None
    return [role for role in stage.method.inputs if isinstance(stage.get(role), Ref | None)]


def _role(stage: Declared, path: str) -> str:
    """The critic starts from the reward model or from the policy."""
    ref, reward = reference(stage, path), reference(stage, "reward")
    return "reward" if ref and reward and ref.name == reward.name else "policy"


def _plain(value: Any, measured: Callable[[Quantity], float] = attrgetter("amount")) -> Any:
    if isinstance(value, Quantity):
        return measured(value)
    if isinstance(value, tuple):
        return [_plain(each, measured) for each in value]
    if isinstance(value, Choice):
        inner = {name: _plain(given.value, measured) for name, given in value.values.items()}
        return {"kind": value.name, **inner}
    if isinstance(value, Ref):  # what it holds is in the key; what it is called is in none
        return value.kind
    return str(value) if isinstance(value, str) else value


def _plain_choice(choice: Choice) -> dict[str, Any]:
    return {name: _plain(given.value) for name, given in choice.values.items()}


def _gates(stage: Declared, building: Building) -> list[Gate]:
    gates = []
    for check in stage.checks:
        declared = building.recipe.declared.get(check.on.name) if check.on else None
        if declared and declared.kind == "benchmark":
            declared = None
        data = data_part(declared, building.recipe, building.found) if declared else None
        if declared and data:
            count(data, declared, building.found)  # what cannot be read is found before it trains
        measure = Measure(text=check.text, metric=check.metric, data=data)
        gates.append(
            Gate(
                measure=measure,
                compare=check.compare,
                bound=check.bound,
                enforce=stage.enforce,
                place=check.span.place,
            )
        )
    return gates
