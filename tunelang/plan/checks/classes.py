"""Rules on labels and judgements that look into the rows (TL556, TL737, TL738).

Classes are those of the rows that are trained on: one alone tells nothing apart, and what is held
out of another class cannot be measured. Workers say the same of rows that are not here.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, warning
from tunelang.plan.checks.seen import Seen, of_step
from tunelang.plan.ir import Plan, Step
from tunelang.plan.passes.context import Context

AT_LEAST = 2  # classes that can be told apart
LISTED = 5  # classes that are named in a message


def _seen(plan: Plan, context: Context, methods: tuple[str, ...]) -> Iterator[list[Seen]]:
    """The data of each stage of some methods, where all of it is here."""
    for step in plan.steps:
        seen = list(of_step(step, context)) if step.method in methods else []
        if seen and step.data and len(seen) == len(step.data.parts):
            yield seen


def _classifies(step: Step) -> bool:
    return step.product == "classifier"


def one_class(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL737: every row that a classifier is trained on has the same label."""
    for seen in _seen(plan, context, ("transfer", "few_shot")):
        labels = {label for each in seen for label in each.facts.labels}
        if _classifies(seen[0].step) and len(labels) < AT_LEAST:
            stage = seen[0].stage
            yield error(
                "TL737",
                "one-class",
                f"`{stage.name}` tells classes apart, and every row it trains on is labelled "
                f"`{next(iter(labels), '')}`",
                stage.span_of("data"),
                "one class",
                others=tuple(Label(each.data.span, "its rows") for each in seen),
                help="bring rows of other classes, or map the column that tells them apart",
            )


def unknown_class(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL738: a held-out row is of a class that no row to train on has."""
    for seen in _seen(plan, context, ("transfer", "few_shot")):
        labels = {label for each in seen for label in each.facts.labels}
        if not _classifies(seen[0].step) or len(labels) < AT_LEAST:
            continue
        for each in seen:
            strange = [label for label in each.facts.held_labels if label not in labels]
            if strange:
                yield _strange(each, strange)


def _strange(seen: Seen, strange: list[str]) -> Diagnostic:
    named = ", ".join(f"`{label}`" for label in strange[:LISTED])
    more = f" and {len(strange) - LISTED} more" if len(strange) > LISTED else ""
    return error(
        "TL738",
        "unknown-class",
        f"rows held out of `{seen.data.name}` are labelled {named}{more}, and no row that "
        f"`{seen.stage.name}` trains on is",
        seen.data.span_of("hold_out"),
        "holds out all of a class",
        others=(Label(seen.stage.span_of("data"), "read here"),),
        help="hold out fewer rows, or bring more of these classes",
    )


def one_sided(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL556: kto learns from good and from bad replies, and all are one of them."""
    for seen in _seen(plan, context, ("kto",)):
        said = {label for each in seen for label in each.facts.labels}
        if len(said) < AT_LEAST:
            good = "good" if "True" in said else "bad"
            yield warning(
                "TL556",
                "one-sided-feedback",
                f"every reply that `{seen[0].stage.name}` trains on is {good}",
                seen[0].stage.span_of("data"),
                f"nothing {'bad' if good == 'good' else 'good'} among them",
                others=tuple(Label(each.data.span, "its rows") for each in seen),
                help="kto weighs good replies against bad ones: bring both, about as many of each",
            )


RULES = (one_class, unknown_class, one_sided)
