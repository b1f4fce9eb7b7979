"""Rules on ppo, grpo and rloo (TL503 to TL527): leash, judge, critic, groups, replies drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, hint, warning
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared
from tunelang.recipe.resolve import Resolved
from tunelang.recipe.typed import flat
from tunelang.rules.edits import setting
from tunelang.rules.stages import POLICIES, reference, stages
from tunelang.units import number


def _default(stage: Declared, path: str) -> str:
    """What a field holds where nobody writes it, as recipe text."""
    assert stage.method is not None
    return flat(stage.method.fields)[path].default or ""


def reference_trains(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL503: the reference is the stage itself, so it would move with what trains."""
    for _, stage in stages(resolved):
        start, reference = graph.start_of(stage), stage.get("reference")
        if reference and start and reference.name == stage.name != start:
            yield error(
                "TL503",
                "reference-trains",
                f"the reference of `{stage.name}` is `{stage.name}`, which is being trained",
                stage.span_of("reference"),
                "would move with it",
                help=f"hold it to where it starts, `{start}`",
                fix=setting(stage, "reference", start),
            )


def no_kl(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL505: a policy without KL drifts into what the judge likes.

    A right answer is right wherever the policy has gone: DAPO (arXiv 2503.14476, section 2.3).
    """
    for _, stage in stages(resolved, *POLICIES):
        if _function(stage) == "exact_match":
            continue
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
    for _, stage in stages(resolved, *POLICIES):
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
    for _, stage in stages(resolved, *POLICIES):
        if stage.get("rollout.temperature") == 0:
            usual = _default(stage, "rollout.temperature")
            yield error(
                "TL522",
                "greedy-rollout",
                f"`{stage.name}` always samples the likeliest reply, so it learns from no other",
                stage.span_of("rollout.temperature"),
                "explores nothing",
                help=f"{usual} is the default"
                + ("" if usual == "1.0" else "; 1.0 samples the policy as it is"),
                fix=setting(stage, "rollout.temperature", usual),
            )


def reward_unscaled(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL523: the judge's scores are not centred, and nothing scales or clips them."""
    for recipe, stage in stages(resolved, *POLICIES):
        ref = reference(stage, "reward")
        judge = recipe.declared.get(ref.name) if ref else None
        scaled = stage.get("whiten_rewards") or stage.get("clip_rewards") is not None
        scaled = scaled or stage.get("scale") in ("group", "batch")
        how, value = _scaling(stage)
        if judge and judge.get("center") == 0 and not scaled:
            yield warning(
                "TL523",
                "reward-unscaled",
                f"`{stage.name}` takes the scores of `{judge.name}` as they come",
                stage.span_of("reward"),
                "any size",
                others=(Label(judge.span_of("center"), "nothing holds them near 0"),),
                help=f"write `{how} = {value}`, or train the judge with `center = 0.01`",
                fix=setting(stage, how, value),
            )


def critic_from_nothing(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL524: a critic whose head starts at random slows ppo."""
    for _, stage in stages(resolved, "ppo"):
        reward = reference(stage, "reward")
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


def critic_from_elsewhere(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL714: the critic is a copy of the stage's reward model or of its policy, of nothing else."""
    for _, stage in stages(resolved, "ppo"):
        start = stage.get("value.from")
        known = [ref.name for path in ("reward", "policy") if (ref := reference(stage, path))]
        if start and start.name not in known:
            yield error(
                "TL714",
                "backend-cannot",
                f"the value model of `{stage.name}` cannot start from `{start.name}`",
                stage.span_of("value.from"),
                "neither its reward nor its policy",
                help=f"it can start from {' or '.join(f'`{name}`' for name in known)}",
            )


def group_of_one(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL507: a reply that is compared with itself has no advantage."""
    for _, stage in stages(resolved, *POLICIES):
        if stage.get("rollout.group") == 1:
            usual = _default(stage, "rollout.group")
            yield error(
                "TL507",
                "group-of-one",
                f"`{stage.name}` compares each reply with itself alone, and learns nothing",
                stage.span_of("rollout.group"),
                "nothing to compare with",
                help=f"groups of 4 to 16 are usual; {usual} is the default",
                fix=setting(stage, "rollout.group", usual),
            )


def group_splits_batch(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL508: the last group of a rollout would be cut."""
    for _, stage in stages(resolved, *POLICIES):
        batch, group = stage.get("rollout.batch"), stage.get("rollout.group") or 1
        if batch and batch % group:
            whole = (batch // group + 1) * group
            yield error(
                "TL508",
                "group-splits-batch",
                f"`{stage.name}` samples {batch} replies, which are no groups of {group}",
                stage.span_of("rollout.batch"),
                f"no multiple of {group}",
                others=(Label(stage.span_of("rollout.group"), "replies to each prompt"),),
                help=f"`batch = {whole}` is {whole // group} prompts",
                fix=setting(stage, "rollout.batch", str(whole)),
            )


def bad_pattern(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL527: a reward's pattern that Python's `re` does not read."""
    for _, stage in stages(resolved, *POLICIES):
        given = stage.get("reward").values["pattern"] if _function(stage) == "regex" else None
        wrong = _trouble(given.value) if given else ""
        if given and wrong:
            yield error(
                "TL527",
                "bad-pattern",
                f"the pattern that rewards `{stage.name}` is none: {wrong}",
                given.span or stage.span_of("reward"),
                "not a pattern",
                help="patterns are those of Python's `re`",
            )


def _trouble(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as wrong:
        return str(wrong)
    return ""


def _function(stage: Declared) -> str:
    """The function that rewards a stage, empty where a model does."""
    reward = stage.get("reward")
    return reward.name if isinstance(reward, Choice) else ""


def _scaling(stage: Declared) -> tuple[str, str]:
    """The field of the method that holds scores within bounds, and a usual value."""
    assert stage.method is not None
    known = {"whiten_rewards": "true", "scale": "group", "clip_rewards": "5"}
    return next((path, text) for path, text in known.items() if path in stage.method.fields)


RULES = (
    reference_trains,
    no_kl,
    contradictory_loss,
    greedy_rollout,
    reward_unscaled,
    critic_from_nothing,
    critic_from_elsewhere,
    group_of_one,
    group_splits_batch,
    bad_pattern,
)
