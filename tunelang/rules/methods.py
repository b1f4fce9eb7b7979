"""Rules on methods and artifact types (TL5xx): what may follow what."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, error, warning
from tunelang.recipe import graph
from tunelang.recipe.model import Check, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import POLICIES, reference, stages

# What a method that makes either does not measure of a stage that makes the one.
FOREIGN = {"classifier": ("perplexity", "token_accuracy"), "lm": ("macro_f1",)}


def reward_before_sft(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL502: the judge did not start from the policy's start."""
    for recipe, stage in stages(resolved, *POLICIES):
        policy, reward = stage.get("policy"), reference(stage, "reward")
        judge = recipe.declared.get(reward.name) if reward else None
        is_judge = judge and judge.product == "reward"
        start = graph.start_of(judge) if judge and is_judge else None
        if policy and reward and start and start != policy.name:
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
    for recipe, stage in stages(resolved):
        for check in stage.checks:
            if _benchmarked(recipe, check):
                continue
            against = check.arguments.get("versus")
            judge = check.arguments.get("judge")
            base = stage.get("reference") or stage.get("policy")
            reward = reference(stage, "reward")
            other = (against and base and against.name != base.name) or (
                judge and (reward is None or judge.name != reward.name)
            )
            if other or (check.arguments and stage.method and stage.method.name not in POLICIES):
                yield error(
                    "TL714",
                    "backend-cannot",
                    f"`{check.text}` is not something this version can measure in `{stage.name}`",
                    check.span,
                    "cannot be measured here",
                    help="`versus` must be the reference of a ppo, grpo or rloo stage, `judge` its "
                    "reward",
                )


def metric_of_method(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL714: a gate asks for a metric that the stage's method does not measure."""
    for recipe, stage in stages(resolved):
        assert stage.method is not None
        product = stage.product
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


def _measurable(own: tuple[str, ...], product: str | None, *, on: bool) -> tuple[str, ...]:
    """What can be measured, on other rows above all, depends on what the stage makes."""
    if not on:
        return tuple(name for name in own if name not in FOREIGN.get(product or "", ()))
    if product == "classifier":
        return ("accuracy", "loss", "macro_f1")
    if product == "reward":
        return ("accuracy", "loss", "margin")
    chooses = ("accuracy",) if "accuracy" in own else ()
    return (*chooses, "loss", "perplexity", "token_accuracy")


RULES = (
    reward_before_sft,
    win_rate_versus,
    metric_of_method,
)
