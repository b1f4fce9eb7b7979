"""Rules on methods and artifact types (TL4xx, TL5xx): what may follow what."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, warning
from tunelang.recipe import graph
from tunelang.recipe.model import Check, Choice, Declared, Recipe
from tunelang.recipe.resolve import Resolved


def _stages(resolved: Resolved, *methods: str) -> Iterator[tuple[Recipe, Declared]]:
    recipe = resolved.recipe
    assert recipe is not None
    for stage in recipe.stages.values():
        if stage.method and (not methods or stage.method.name in methods):
            yield recipe, stage


def tokenizers_differ(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL409: policy, reference and reward come from different models, so they read other tokens."""
    for recipe, stage in _stages(resolved, "ppo"):
        policy = stage.get("policy")
        start = graph.root_of(recipe, policy.name) if policy else None
        for path in ("reference", "reward", "value.from"):
            ref = stage.get(path)
            root = graph.root_of(recipe, ref.name) if ref else None
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
    for recipe, stage in _stages(resolved):
        start = recipe.declared.get(graph.start_of(stage) or "")
        if start is None or start.kind != "stage" or _kind(stage) == "qlora":
            continue
        if _quantised(recipe, start) and _kind(stage) == "full":
            yield error(
                "TL412",
                "quantised-full-tuning",
                f"`{stage.name}` tunes every weight of `{start.name}`, which has 4-bit weights",
                stage.span_of("weights"),
                "cannot train 4-bit weights",
                others=(Label(start.span_of("weights"), "4-bit here"),),
                help="use `qlora` or `lora` here, or train `" + start.name + "` with `lora`",
            )


def _kind(stage: Declared) -> str:
    weights = stage.get("weights")
    return weights.name if isinstance(weights, Choice) else ""


def _quantised(recipe: Recipe, stage: Declared) -> bool:
    if _kind(stage) == "qlora":
        return True
    start = recipe.declared.get(graph.start_of(stage) or "")
    return bool(
        start and start.kind == "stage" and _kind(stage) != "full" and _quantised(recipe, start)
    )


def reward_before_sft(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL502: the judge did not start from the policy's start."""
    for recipe, stage in _stages(resolved, "ppo"):
        policy, reward = stage.get("policy"), stage.get("reward")
        judge = recipe.declared.get(reward.name) if reward else None
        is_judge = judge and judge.method and judge.method.product == "reward"
        start = graph.start_of(judge) if judge and is_judge else None
        if policy and start and start != policy.name:
            yield warning(
                "TL502",
                "reward-before-sft",
                f"`{reward.name}` started from `{start}`, `{stage.name}` from `{policy.name}`",
                stage.span_of("reward"),
                f"knows `{start}` only",
                help=f"a judge of what `{policy.name}` writes had best start from `{policy.name}`",
            )


def win_rate_versus(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL714: `win_rate` compares with the stage's own reference, by its own reward model."""
    for recipe, stage in _stages(resolved):
        for check in stage.checks:
            if _benchmarked(recipe, check):
                continue
            against = check.arguments.get("versus")
            judge = check.arguments.get("judge")
            reference = stage.get("reference") or stage.get("policy")
            reward = stage.get("reward")
            other = (against and reference and against.name != reference.name) or (
                judge and reward and judge.name != reward.name
            )
            if other or (check.arguments and stage.method and stage.method.name != "ppo"):
                yield error(
                    "TL714",
                    "backend-cannot",
                    f"`{check.text}` is not something this version can measure in `{stage.name}`",
                    check.span,
                    "cannot be measured here",
                    help="`versus` must be the reference of a ppo stage, `judge` its reward",
                )


def metric_of_method(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL714: a gate asks for a metric that the stage's method does not measure."""
    for recipe, stage in _stages(resolved):
        assert stage.method is not None
        product = stage.method.product
        for check in stage.checks:
            known = _measurable(stage.method.metrics, product, on=check.on is not None)
            if check.metric not in known and not _benchmarked(recipe, check):
                where = f"on `{check.on.name}`" if check.on else f"by `{stage.method.name}`"
                yield error(
                    "TL714",
                    "backend-cannot",
                    f"`{check.metric}` is not measured {where}",
                    check.span,
                    "not measured",
                    help=f"measured are {', '.join(known)}",
                )


def _benchmarked(recipe: Recipe, check: Check) -> bool:
    return bool(check.on and check.on.name in recipe.of_kind("benchmark"))


def _measurable(own: tuple[str, ...], product: str, *, on: bool) -> tuple[str, ...]:
    """What can be measured on other rows depends on what the stage makes."""
    if not on:
        return own
    return (
        ("accuracy", "loss", "margin")
        if product == "reward"
        else ("loss", "perplexity", "token_accuracy")
    )


RULES = (
    tokenizers_differ,
    quantised_full_tuning,
    reward_before_sft,
    win_rate_versus,
    metric_of_method,
)
