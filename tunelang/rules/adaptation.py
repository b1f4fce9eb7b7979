"""Rules on general text beside a domain (TL315, TL325, TL714): replayed, measured, gated."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, hint
from tunelang.recipe.model import Choice
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import data_of, stages

# What a metric is measured on: the fields of which one must be written.
RESTS_ON = {
    "forgetting": ("replay", "general"),
    "general_perplexity": ("replay", "general"),
    "template_loss": ("hold_out_templates",),
    "template_accuracy": ("hold_out_templates",),
}


def no_replay(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL315: a model that reads one domain only forgets the rest, and nothing shows it."""
    for recipe, stage in stages(resolved, "domain_adaptation"):
        parts = data_of(stage, recipe)
        if len(parts) != 1:
            continue
        others = [check for check in stage.checks if check.on and check.on.name != parts[0].name]
        watched = stage.get("general") or others
        if not watched:
            yield hint(
                "TL315",
                "no-replay",
                f"`{stage.name}` trains on `{parts[0].name}` alone, and nothing shows what it "
                "forgets",
                stage.span_of("data"),
                "no general text",
                # Ibrahim et al. 2024 (arXiv 2403.08763) replay 5 % where the shift is weak.
                help="name general text: `replay = web` reads 5% of it among the rows, "
                "`general = web` measures what is forgotten",
            )


def replay_beside_shares(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL325: shares by size are of all parts, so a share for replay beside them is none."""
    for recipe, stage in stages(resolved):
        ref, replayed = stage.get("data"), stage.get("replay")
        mix = recipe.of_kind("mix").get(ref.name) if ref and replayed else None
        strategy: Choice | None = mix.get("strategy") if mix else None
        if mix is not None and strategy is not None and strategy.name != "fixed":
            yield error(
                "TL325",
                "replay-beside-shares",
                f"`{stage.name}` replays a share of `{replayed.name}`, and `{mix.name}` shares its "
                f"rows by `{strategy.name}`",
                stage.span_of("replay"),
                "a share of what?",
                others=(Label(mix.span_of("strategy"), "shares by size"),),
                help=f"make `{replayed.name}` a part of `{mix.name}`, or let its shares be fixed",
            )


def nothing_to_measure(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL714: a gate on general text or unseen wordings, and the stage names none."""
    for recipe, stage in stages(resolved):
        for check in stage.checks:
            fields = RESTS_ON.get(check.metric, ())
            on = [stage, *data_of(stage, recipe)]
            named = any(each.get(field) for each in on for field in fields)
            if stage.method and check.metric in stage.method.metrics and fields and not named:
                where = "" if fields[0] in stage.method.fields else " in its data"
                yield error(
                    "TL714",
                    "backend-cannot",
                    f"`{check.text}` has nothing to be measured on in `{stage.name}`",
                    check.span,
                    "not measured",
                    help=f"write {' or '.join(f'`{field} = ...`' for field in fields)}{where}",
                )


RULES = (no_replay, replay_beside_shares, nothing_to_measure)
