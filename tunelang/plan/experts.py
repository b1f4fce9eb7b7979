"""The steps of a stage that trains chosen experts: first its text is scored, then it trains.

Scoring is a step of its own, keyed by model, text and sample alone, so that a stage with another
score, mass or rate finds it done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tunelang.diagnostic import Diagnostic, error
from tunelang.estimate import experts
from tunelang.plan.ir import Step, StoreModel, Weights
from tunelang.plan.keys import key_of
from tunelang.recipe.model import Choice, Declared, Recipe

METHOD = "expert_scores"
SUFFIX = f".{METHOD}"


def steps(
    step: Step | None,
    stage: Declared,
    recipe: Recipe,
    known: tuple[Iterable[Step], list[Diagnostic]],
) -> list[Step]:
    """The step as it is, or with the scoring that comes before it; none after a mistake.

    `known` are the steps before and the findings. A scoring pass among those is not made again.
    """
    earlier, found = known
    if step is None:
        return []
    if step.weights is None or step.weights.kind != "experts":
        return [step]
    chosen: Choice = stage.get("weights")
    if chosen.get("config"):
        document = _config(chosen, recipe, found)
        return [_with(step, config=document)] if document else []
    scores = _scoring(step)
    done = next((each for each in earlier if each.key == scores.key), None)
    return [_after(step, done)] if done else [scores, _after(step, scores)]


def _after(step: Step, scores: Step) -> Step:
    inputs = {**step.inputs, "scores": StoreModel(key=scores.key)}
    waiting = step.model_copy(update={"inputs": inputs, "after": [*step.after, scores.name]})
    return waiting.model_copy(update={"key": key_of(waiting)})


def _with(step: Step, **fields: Any) -> Step:
    assert step.weights is not None
    weights = Weights(kind=step.weights.kind, fields={**step.weights.fields, **fields})
    changed = step.model_copy(update={"weights": weights})
    return changed.model_copy(update={"key": key_of(changed)})


def _scoring(step: Step) -> Step:
    """One pass over the stage's own text through the model it starts from."""
    assert step.weights is not None
    fields: dict[str, Any] = {"method": step.method, "sample": step.weights.fields["sample"]}
    if step.fields.get("template"):
        fields["template"] = step.fields["template"]
    scoring = Step(
        name=f"{step.name}{SUFFIX}",
        method=METHOD,
        method_version=1,
        worker="tunelang.train.expert_scores",
        key="",
        product="metrics",
        seed=step.seed,
        precision=step.precision,
        inputs={"model": step.inputs["model"]},
        data=step.data,
        length=step.length,
        fields=fields,
        stack=step.stack,
        place=step.place,
        later=step.later,
        after=step.after,
    )
    return scoring.model_copy(update={"key": key_of(scoring)})


def _config(chosen: Choice, recipe: Recipe, found: list[Diagnostic]) -> dict[str, Any] | None:
    """The content of the expert config that the recipe names: the file itself is in no key."""
    given = chosen.values["config"]
    span = given.span
    assert span is not None
    path = recipe.folder_of(span) / str(given.value)
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        selection, shared = experts.selection_of(document)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        found.append(
            error(
                "TL538",
                "unreadable-experts",
                f"`{path.name}` is no expert config: {reason}",
                span,
                "cannot be read",
                help="`tunelang experts SCORES.json --output config.json` writes one",
            )
        )
        return None
    return experts.config(selection, shared=shared)
