"""Rules on the choice of experts (TL515 to TL517): how many, from how much text, and what undoes
the choice."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, hint, replace, warning
from tunelang.estimate.experts import mass_of
from tunelang.recipe.model import Choice, Declared
from tunelang.recipe.resolve import Resolved
from tunelang.rules.stages import stages
from tunelang.units import Quantity, show

ALL = 0.9  # of the score: with token scores as many of the experts at most
# Tokens that each published selection was made from: 8.2 to 8.5 thousand (deepseek-ai/ESFT).
FEW = 8_000


def _chosen(resolved: Resolved) -> Iterator[tuple[Declared, Choice]]:
    """The stages that choose experts by a score."""
    for _, stage in stages(resolved):
        weights = stage.get("weights")
        if isinstance(weights, Choice) and weights.name == "experts":
            yield stage, weights


def all_experts(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL515: the mass keeps nearly every expert."""
    for stage, weights in _chosen(resolved):
        fields = {"score": weights.get("score"), "mass": weights.get("mass")}
        mass = mass_of(fields)
        if mass >= ALL and not weights.get("config"):
            yield warning(
                "TL515",
                "all-experts",
                f"`{stage.name}` keeps {mass:.0%} of the score, which is nearly every expert",
                weights.values["mass"].span or stage.span_of("weights"),
                "hardly a choice",
                help="the paper keeps 20% of the token score, or 10% of the gates",
            )


def few_scoring_tokens(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL517: experts are chosen from too little text."""
    for stage, weights in _chosen(resolved):
        sample: Quantity = weights.get("sample")
        span = weights.values["sample"].span
        if span and sample.amount < FEW and not weights.get("config"):
            yield warning(
                "TL517",
                "few-scoring-tokens",
                f"`{stage.name}` chooses experts from {show(sample)}, too few to settle on them",
                span,
                f"less than {FEW:,}",
                help="the reference code scores 128Ki tokens; the pass over them trains nothing",
                fix=replace(span, "128Ki tokens", safe=False),
            )


def router_trains(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL516: what sends tokens to the chosen experts changes too."""
    for stage, weights in _chosen(resolved):
        given = weights.values.get("router")
        if given and given.value and given.span:
            yield hint(
                "TL516",
                "router-trains",
                f"`{stage.name}` chooses experts by what routers send them, and trains the routers",
                given.span,
                "undoes the choice",
                help="the paper freezes them with everything but the chosen experts",
                fix=replace(given.span, "false", safe=False),
            )


RULES = (all_experts, few_scoring_tokens, router_trains)
