"""Rules on ppo (TL503 to TL525): the leash, the judge, the critic and how replies are drawn."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, hint, warning
from tunelang.recipe.model import Declared
from tunelang.recipe.resolve import Resolved
from tunelang.recipe.typed import flat
from tunelang.rules.edits import setting
from tunelang.rules.stages import stages
from tunelang.units import number


def _default(stage: Declared, path: str) -> str:
    """What a field holds where nobody writes it, as recipe text."""
    assert stage.method is not None
    return flat(stage.method.fields)[path].default or ""


def reference_trains(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL503: the reference is the stage itself, so it would move with the policy."""
    for _, stage in stages(resolved, "ppo"):
        reference, policy = stage.get("reference"), stage.get("policy")
        if reference and policy and reference.name == stage.name != policy.name:
            yield error(
                "TL503",
                "reference-trains",
                f"the reference of `{stage.name}` is `{stage.name}`, which is being trained",
                stage.span_of("reference"),
                "would move with it",
                help=f"measure KL against the policy's start, `{policy.name}`",
                fix=setting(stage, "reference", policy.name),
            )


def no_kl(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL505: a policy without KL drifts into what the judge likes."""
    for _, stage in stages(resolved, "ppo"):
        if stage.get("kl.coefficient") == 0 and stage.get("kl.target") is None:
            usual = _default(stage, "kl.coefficient")
            yield warning(
                "TL505",
                "no-kl",
                f"nothing holds `{stage.name}` near the model it starts from",
                stage.span_of("kl.coefficient"),
                "no leash",
                help=f"the reward alone is soon gamed; {usual} is the default",
                fix=setting(stage, "kl.coefficient", usual),
            )


def contradictory_loss(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL513: a KL target steers the coefficient by multiplying it, and 0 stays 0."""
    for _, stage in stages(resolved, "ppo"):
        target = stage.get("kl.target")
        if stage.get("kl.coefficient") == 0 and target is not None:
            aim = f"the target of {number(target)} nats"
            yield error(
                "TL513",
                "contradictory-loss",
                f"the KL penalty of `{stage.name}` is switched off and has a target to reach",
                stage.span_of("kl.coefficient"),
                "stays 0, whatever the target",
                others=(Label(stage.span_of("kl.target"), "steered to this"),),
                help=f"start the coefficient at {_default(stage, 'kl.coefficient')}, or drop {aim}",
            )


def greedy_rollout(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL522: temperature 0 explores nothing."""
    for _, stage in stages(resolved, "ppo"):
        if stage.get("rollout.temperature") == 0:
            usual = _default(stage, "rollout.temperature")
            yield error(
                "TL522",
                "greedy-rollout",
                f"`{stage.name}` always samples the likeliest reply, so it learns from no other",
                stage.span_of("rollout.temperature"),
                "explores nothing",
                help=f"{usual} is the default; 1.0 samples the policy as it is",
                fix=setting(stage, "rollout.temperature", usual),
            )


def reward_unscaled(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL523: the judge's scores are not centred, and nothing scales or clips them."""
    for recipe, stage in stages(resolved, "ppo"):
        ref = stage.get("reward")
        judge = recipe.declared.get(ref.name) if ref else None
        scaled = stage.get("whiten_rewards") or stage.get("clip_rewards") is not None
        if judge and judge.get("center") == 0 and not scaled:
            yield warning(
                "TL523",
                "reward-unscaled",
                f"`{stage.name}` takes the scores of `{judge.name}` as they come",
                stage.span_of("reward"),
                "any size",
                others=(Label(judge.span_of("center"), "nothing holds them near 0"),),
                help="write `whiten_rewards = true`, or train the judge with `center = 0.01`",
                fix=setting(stage, "whiten_rewards", "true"),
            )


def critic_from_nothing(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL524: a critic whose head starts at random slows ppo."""
    for _, stage in stages(resolved, "ppo"):
        reward = stage.get("reward")
        if stage.get("value.from") is None and reward:
            yield hint(
                "TL524",
                "critic-from-nothing",
                f"the value model of `{stage.name}` has to learn what `{reward.name}` knows",
                stage.span,
                "its critic starts at random",
                help=f"`value.from = {reward.name}` starts it as a copy of the judge",
                fix=setting(stage, "value.from", reward.name),
            )


RULES = (
    reference_trains,
    no_kl,
    contradictory_loss,
    greedy_rollout,
    reward_unscaled,
    critic_from_nothing,
)
