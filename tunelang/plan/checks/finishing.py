"""A rule on evaluate (TL555): metrics that these rows, this model or no judge can give."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.methods.evaluate import NEEDS, ROWS_OF
from tunelang.plan.ir import DataPart, Plan, Step
from tunelang.plan.passes.context import Context
from tunelang.recipe.model import Declared
from tunelang.source import Span

FIELDS = ("versus", "judge")
Asked = tuple[str, DataPart, Span]  # a metric, the rows it is taken of, and where it is written


def unmeasurable_metric(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL555: found before anything is answered."""
    for step in plan.steps:
        stage = context.recipe.declared.get(step.name)
        if stage is None or step.method != "evaluate":
            continue
        product = _product(stage, context)
        for metric, part, span in _asked(step, stage, product):
            why = _why(metric, part, product, step)
            if why:
                data = context.recipe.declared[part.name]
                yield error(
                    "TL555",
                    "unmeasurable-metric",
                    f"`{stage.name}` cannot measure `{metric}`: {why}",
                    span,
                    "cannot be measured",
                    others=(Label(data.span, f"`{part.format.kind}` rows"),),
                )


def _product(stage: Declared, context: Context) -> str:
    model = context.recipe.declared.get(stage.get("model").name)
    return (model.product if model else None) or "lm"


def _asked(step: Step, stage: Declared, product: str) -> Iterator[Asked]:
    """Metrics of the step's own rows, then of its gates."""
    parts = step.data.parts if step.data else []
    named = stage.get("metrics")
    usual = "accuracy" if product in ("reward", "classifier") else "loss"
    for metric in map(str, named or (usual,)):
        yield from ((metric, part, stage.span_of("metrics")) for part in parts)
    for check, gate in zip(stage.checks, step.gates, strict=True):
        if check.arguments:
            yield next(iter(check.arguments)), parts[0], check.span
        on = [gate.measure.data] if gate.measure.data else parts
        yield from ((check.metric, part, check.span) for part in on)


def _why(metric: str, part: DataPart, product: str, step: Step) -> str:
    """What is missing, empty where nothing is."""
    if metric in FIELDS:
        return f"`{metric}` is a field of the stage, which asks one judge about one rival"
    if product in ("reward", "classifier"):
        rows = ROWS_OF[product]
        kind = part.format.kind
        what = f"a {product} is measured on {' or '.join(rows)} rows, not on {kind} rows"
        answers = f"a {product} writes no answers"
        return what if kind not in rows else answers if metric in NEEDS and metric != "loss" else ""
    if metric not in NEEDS:
        return ""  # a figure that no model which writes has: the run says that it was not measured
    _, formats, judged = NEEDS[metric]
    if part.format.kind not in formats:
        return f"it takes {' or '.join(formats)} rows"
    if judged and "judge" not in step.inputs:
        return "there is no `judge` to score replies"
    needs_reply = metric == "win_rate" and "versus" not in step.inputs
    return "prompts hold no reply to win against" if needs_reply and _asks_only(part) else ""


def _asks_only(part: DataPart) -> bool:
    return part.format.kind == "prompt"


RULES = (unmeasurable_metric,)
