"""Rules on models (TL4xx): whose tokens they read, and whether their weights can be trained."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import setting
from tunelang.rules.stages import POLICIES, reference, stages

INTO_WEIGHTS = ("full", "layers", "ia3")  # what ia3 learns is merged into the weights


def tokenizers_differ(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL409: policy, reference and reward come from different models, so they read other tokens."""
    for recipe, stage in stages(resolved, *POLICIES):
        policy = stage.get("policy")
        start = graph.tongue_of(recipe, policy.name) if policy else None
        for path in ("reference", "reward", "value.from"):
            ref = reference(stage, path)
            root = graph.tongue_of(recipe, ref.name) if ref else None
            if start and root and root != start:
                yield error(
                    "TL409",
                    "tokenizers-differ",
                    f"the {path} of `{stage.name}` comes from `{root}`, its policy from `{start}`",
                    stage.span_of(path),
                    f"reads the tokens of `{root}`",
                    others=(Label(recipe.declared[start].span, "the policy's model"),),
                    help=f"train the {path} on a stage that starts from `{start}`",
                )


def quantised_full_tuning(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL412: what was trained over 4-bit weights cannot be tuned in full."""
    for recipe, stage in stages(resolved):
        start = recipe.declared.get(graph.start_of(stage) or "")
        if start is None or start.kind != "stage" or kind_of(stage) == "qlora":
            continue
        if quantised(recipe, start) and kind_of(stage) in INTO_WEIGHTS:
            what = "scales weights" if kind_of(stage) == "ia3" else "tunes every weight"
            yield error(
                "TL412",
                "quantised-full-tuning",
                f"`{stage.name}` {what} of `{start.name}`, which has 4-bit weights",
                stage.span_of("weights"),
                "cannot train 4-bit weights",
                others=(Label(start.span_of("weights"), "4-bit here"),),
                help="use `qlora` or `lora` here, or train `" + start.name + "` with `lora`",
                fix=setting(stage, "weights", "qlora"),
            )


def kind_of(stage: Declared) -> str:
    """What trains: full, lora, qlora, ..."""
    weights = stage.get("weights")
    return weights.name if isinstance(weights, Choice) else ""


def quantised(recipe: Recipe, stage: Declared) -> bool:
    """Whether a stage leaves weights that rest in 4 bits."""
    passed: set[str] = set()
    while stage.name not in passed:  # a circle is said elsewhere
        passed.add(stage.name)
        if stage.method and stage.method.name == "merge" and stage.get("onto") != "quantised":
            return False
        if kind_of(stage) in ("qlora", "full"):
            return kind_of(stage) == "qlora"
        start = recipe.declared.get(graph.start_of(stage) or "")
        if start is None or start.kind != "stage":
            return False
        stage = start
    return False


RULES = (tokenizers_differ, quantised_full_tuning)
