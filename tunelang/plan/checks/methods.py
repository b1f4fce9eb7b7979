"""Rules on methods (TL5xx) that look into the model's layers or the judge's rows."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, replace, warning
from tunelang.estimate.parameters import fused, linears
from tunelang.plan.checks.pairs import LONGER
from tunelang.plan.ir import Plan, Step
from tunelang.plan.mixing import known
from tunelang.plan.passes.context import Context
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Given
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.rules.stages import reference
from tunelang.source import Span

OUTSIDE = ("embed_tokens", "lm_head")  # beside the blocks, in every family of the catalogue


def missing_target(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL518: the adapter names a layer that the model lacks."""
    for stage in context.recipe.stages.values():
        weights: Choice | None = stage.get("weights")
        given = weights.values.get("targets") if weights else None
        root = graph.root_of(context.recipe, stage.name)
        base = context.bases.get(root) if root else None
        if given and isinstance(given.value, tuple) and base and base.architecture:
            layers = [*linears(base.architecture), *OUTSIDE]
            for target in given.value:
                if target.rpartition(".")[2] not in layers:
                    yield _missing(stage, given, target, (base.architecture.name, layers))
            pair = {*(fused(base.architecture) or ())} - {*given.value}
            if len(pair) == 1:
                yield _half(stage, given, pair.pop(), base.architecture.name)


def _missing(
    stage: Declared, given: Given, target: str, model: tuple[str, list[str]]
) -> Diagnostic:
    name, layers = model
    guess = nearest(target, layers)
    span = _word(given, target) or stage.span_of("weights")
    whole = replace(given.span, "all_linear", safe=False) if given.span else None
    return error(
        "TL518",
        "missing-target",
        f"`{stage.name}` puts an adapter on `{target}`, and {name} has no such layer",
        span,
        "no such layer",
        help=did_you_mean(guess) or f"it has {', '.join(layers)}",
        fix=replace(span, f'"{guess}"', safe=False) if guess else whole,
    )


def _half(stage: Declared, given: Given, missing: str, model: str) -> Diagnostic:
    """PEFT refuses one of the two: the experts hold them as one matrix."""
    whole = replace(given.span, "all_linear", safe=False) if given.span else None
    return error(
        "TL518",
        "missing-target",
        f"`{stage.name}` puts no adapter on `{missing}`, which is one matrix with its "
        f"neighbour in the experts of {model}",
        given.span or stage.span_of("weights"),
        f"without `{missing}`",
        help=f"add `{missing}`, or leave both out",
        fix=whole,
    )


def _word(given: Given, target: str) -> Span | None:
    """Where the list names the target."""
    at = given.span.text.find(f'"{target}"') if given.span else -1
    if given.span is None or at < 0:
        return None
    start = given.span.start + at
    return Span(given.span.source, start, start + len(target) + 2)


def length_rewarded(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL525: the judge was taught by longer answers, and nothing holds the policy's short."""
    steps = {step.name: step for step in plan.steps}
    for stage in context.recipe.stages.values():
        ref = reference(stage, "reward")
        judge = steps.get(ref.name) if ref else None
        if judge is None or _short(stage):
            continue
        share = _lengths(judge)
        if share >= LONGER:
            yield warning(
                "TL525",
                "length-rewarded",
                f"`{judge.name}` was taught by answers {share:.1f} times as long as those they "
                f"beat, and nothing keeps the replies of `{stage.name}` short",
                stage.span,
                "will write ever longer replies",
                others=(Label(context.recipe.declared[judge.name].span, "prefers long answers"),),
                help="write `gate { mean_length <= 200 tokens }`, or let `no_end_of_text` cost",
            )


def _short(stage: Declared) -> bool:
    limited = any(check.metric == "mean_length" for check in stage.checks)
    return limited or (stage.get("penalty.no_end_of_text") or 0) < 0


def _lengths(judge: Step) -> float:
    """Characters of chosen over rejected replies, 0 where the rows are not on this machine."""
    found = [known(part) for part in (judge.data.parts if judge.data else [])]
    whole = [each for each in found if each]
    if len(whole) < len(found):
        return 0
    rejected = sum(each.rejected_characters for each in whole)
    return sum(each.chosen_characters for each in whole) / rejected if rejected else 0


def no_answer(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL302: `exact_match` compares with the answer of a row, and bare prompts have none."""
    for step in plan.steps:
        stage, reward = context.recipe.declared.get(step.name), step.fields.get("reward")
        if stage is None or not (isinstance(reward, dict) and reward["kind"] == "exact_match"):
            continue
        for part in step.data.parts if step.data else ():
            if part.format.kind == "prompt":
                yield error(
                    "TL302",
                    "wrong-format",
                    f"`exact_match` compares replies with the answers of `{part.name}`, which "
                    "holds prompts alone",
                    stage.span_of("reward"),
                    "nothing to compare with",
                    others=(Label(context.recipe.declared[part.name].span, "has no answers"),),
                    help="map its answers: `format = instruct(prompt = ..., reply = ...)`",
                )


RULES = (missing_target, length_rewarded, no_answer)
