"""Rules on learning from comparisons (TL504 to TL551): the reference, the start and the lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, hint, replace, warning
from tunelang.methods.comparative_ranking import WITHOUT_REFERENCE
from tunelang.methods.preference import LOG_PROBS
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Given, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import dropped
from tunelang.rules.stages import stages
from tunelang.units import number

# orpo teaches the format along with the preference, so it may start anywhere.
ON_TUNED = ("dpo", "ipo", "kto", "simpo", "comparative_ranking", "ppo", "grpo", "rloo")
UNTUNED = ("domain_adaptation",)  # stages after which a model still continues text
TUNED_NAME = re.compile(r"instruct|chat|sft|assistant|-it\b", re.IGNORECASE)
# 0.1 and 0.5 in the paper (arXiv 2305.18290), 0.01 for Zephyr (arXiv 2310.16944).
BETA_LOW, BETA_HIGH, BETA = 0.01, 0.5, "0.1"


def reference_is_not_start(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL504: the stage is held to another model than the one it starts from."""
    for _, stage in stages(resolved):
        reference, start = stage.get("reference"), graph.start_of(stage)
        if LOG_PROBS not in stage.values or reference is None or reference.name == start:
            continue
        yield warning(
            "TL504",
            "reference-is-not-start",
            f"`{stage.name}` starts from `{start}` and is held to `{reference.name}`",
            stage.span_of("reference"),
            "another model",
            help=f"leave it out: the reference is then `{start}`, and no second model is loaded",
            fix=dropped(resolved, stage.values["reference"]),
        )


def reference_not_read(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL550: a loss without a reference is given one."""
    for _, stage in stages(resolved, "comparative_ranking"):
        loss: Choice | None = stage.get("loss")
        if loss is None or loss.name not in WITHOUT_REFERENCE:
            continue
        for path in ("reference", LOG_PROBS):
            given = stage.values.get(path)
            if given and given.value is not None and not given.is_default:
                yield error(
                    "TL550",
                    "reference-not-read",
                    f"`{stage.name}` names a reference, and `{loss.name}` reads none",
                    stage.span_of(path),
                    "would be ignored",
                    help="plackett_luce, lipo and dpo_all_pairs hold the model to a reference",
                    fix=dropped(resolved, given),
                )


def dpo_from_base(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL506: preferences are taught to a model that was never tuned on replies."""
    for recipe, stage in stages(resolved, *ON_TUNED):
        assert stage.method is not None
        if isinstance(stage.get("reward"), Choice):
            continue  # a function knows what it looks for in any text (arXiv 2501.12948)
        start = graph.start_of(stage)
        if start and not tuned(recipe, start):
            yield warning(
                "TL506",
                "dpo-from-base",
                f"`{stage.name}` starts from `{start}`, which was not taught to reply",
                stage.span_of(stage.method.inputs[0]),
                "continues text",
                help="tune it on conversations first; replies are then near what it says",
            )


def tuned(recipe: Recipe, name: str) -> bool:
    """Did a stage teach it to reply, or does its name say that someone did? One from scratch is
    for teaching, and is let pass."""
    declared = recipe.declared.get(name)
    while declared is not None and declared.kind == "stage":
        assert declared.method is not None
        if declared.method.name not in UNTUNED:
            return True
        declared = recipe.declared.get(graph.start_of(declared) or "")
    place: Choice | None = declared.get("from") if declared else None
    if place is None or place.name == "scratch":
        return True
    said = [given.value for given in place.values.values() if isinstance(given.value, str)]
    return any(TUNED_NAME.search(text) for text in said)


def beta_out_of_range(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL612: held too loosely, or hardly moved."""
    for _, stage in stages(resolved, "dpo", "kto", "comparative_ranking"):
        given = _beta(stage)
        if given and given.span and not BETA_LOW <= given.value <= BETA_HIGH:
            low = given.value < BETA_LOW
            yield hint(
                "TL612",
                "beta-out-of-range",
                f"the beta of `{stage.name}` is {number(given.value)}, and "
                f"{BETA_LOW} to {BETA_HIGH} is usual",
                given.span,
                "hardly holds it" if low else "hardly lets it move",
                help=f"{BETA} is the default",
                fix=replace(given.span, BETA, safe=False),
            )


def _beta(stage: Declared) -> Given | None:
    loss: Choice | None = stage.get("loss")
    return loss.values.get("beta") if loss else stage.values.get("beta")


def one_candidate(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL509: a list of one has no order."""
    for _, stage in stages(resolved, "comparative_ranking"):
        if stage.get("candidates") == 1:
            ref = stage.get("data")
            declared = resolved.recipe.declared.get(ref.name) if resolved.recipe and ref else None
            others = (Label(declared.span, "its replies"),) if declared else ()
            yield error(
                "TL509",
                "one-candidate",
                f"`{stage.name}` compares one reply with none",
                stage.span_of("candidates"),
                "no order",
                others=others,
                help="two make a pair; four to eight teach more",
            )


RULES = (
    reference_is_not_start,
    reference_not_read,
    dpo_from_base,
    beta_out_of_range,
    one_candidate,
)
