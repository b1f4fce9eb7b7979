"""The models that stages go back to, and the steps that make or convert them first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tunelang.diagnostic import Diagnostic
from tunelang.plan import adapters
from tunelang.plan.ir import ModelRef, Place, Step, StoreModel
from tunelang.plan.keys import key_of
from tunelang.plan.models import Base, base_of
from tunelang.recipe import graph
from tunelang.recipe.model import Declared, Recipe

# Where models are made; the place pass moves what trains.
NOWHERE = Place(
    device="cpu",
    gpu=None,
    gpus=0,
    threads=1,
    micro=1,
    accumulate=1,
    checkpointing=False,
    sharding="none",
    launcher="local",
)


@dataclass
class Bases:
    """Bases by the name of their model, and the steps that some of them take."""

    recipe: Recipe
    stack: dict[str, str]
    found: list[Diagnostic]
    known: dict[str, Base] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)

    def ref(self, name: str) -> ModelRef | None:
        """What a worker loads for a model; None where it could not be read."""
        if name in self.steps:
            return StoreModel(key=self.steps[name].key)
        base = self.known.get(name)
        return base.ref if base else None


def bases(recipe: Recipe, stack: dict[str, str], found: list[Diagnostic]) -> Bases:
    """Every model that a stage names; an adapter comes after the model it lies over."""
    made = Bases(recipe, stack, found)
    for stage in recipe.stages.values():
        for name in graph.reachable(recipe, stage.name):
            if recipe.declared[name].kind == "model":
                _add(recipe.declared[name], made)
    return made


def _add(model: Declared, made: Bases) -> None:
    if model.name in made.known:
        return
    below = graph.base_of(model)
    if below:
        _add(made.recipe.declared[below], made)
    under = made.ref(below) if below else None
    if below and under is None:
        return
    architecture = made.known[below].architecture if below else None
    foreign = list(adapters.foreign(model, made.recipe, (under, architecture))) if under else []
    made.found += foreign
    base = None if foreign else base_of(model, made.recipe, made.found)
    if base is None:
        return
    base = replace(base, architecture=base.architecture or architecture)
    made.known[model.name] = base
    if base.source is not None:
        made.steps[model.name] = _step(model, base, {"base": under} if under else {}, made)


def _step(model: Declared, base: Base, inputs: dict[str, ModelRef], made: Bases) -> Step:
    below = graph.base_of(model)
    step = Step(
        name=model.name,
        method="import_model",
        method_version=1,
        worker="tunelang.train.import_model",
        key="",
        product="lm",
        seed=getattr(base.source, "seed", 0),
        precision=base.precision,
        inputs=inputs,
        import_from=base.source,
        stack=made.stack,
        place=NOWHERE,
        after=[below] if below and below in made.steps else [],
    )
    return step.model_copy(update={"key": key_of(step)})
