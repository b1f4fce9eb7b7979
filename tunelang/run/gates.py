"""Gates: measured metrics against the bounds of a recipe. Pure; it runs nothing."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tunelang import metrics as vocabulary
from tunelang.diagnostic import Diagnostic, Severity, error
from tunelang.plan.ir import Gate, Step
from tunelang.run.place import label
from tunelang.units import Quantity, show

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Verdict:
    """A gate and what was measured for it; None when the worker measured nothing."""

    gate: Gate
    measured: float | None
    passed: bool


def judge(step: Step, after: Mapping[str, float]) -> list[Verdict]:
    """Every gate of the step against the metrics taken at its end; nan passes no gate."""
    return [_verdict(gate, after.get(gate.measure.text)) for gate in step.gates]


def stops(verdicts: list[Verdict]) -> bool:
    """Whether an enforced gate is not passed."""
    return any(verdict.gate.enforce and not verdict.passed for verdict in verdicts)


def findings(step: Step, verdicts: list[Verdict]) -> list[Diagnostic]:
    """What to tell of the gates that are not passed: errors where enforced, else warnings."""
    return [_finding(step, verdict) for verdict in verdicts if not verdict.passed]


def _verdict(gate: Gate, measured: float | None) -> Verdict:
    if measured is None or math.isnan(measured):
        return Verdict(gate, measured, False)
    return Verdict(gate, measured, COMPARE[gate.compare](measured, gate.bound))


def _finding(step: Step, verdict: Verdict) -> Diagnostic:
    gate, text = verdict.gate, verdict.gate.measure.text
    where = label(gate.place, "this gate")
    if verdict.measured is None:
        code, name = "TL722", "gate-unmeasured"
        message = f"stage `{step.name}` did not measure `{text}`, which a gate compares"
        advice = (
            f"is `{gate.measure.metric}` a metric of {step.method}, and has the data held-out rows?"
        )
    else:
        code, name = "TL721", "gate-not-passed"
        measured, bound = value(text, verdict.measured), value(text, gate.bound)
        message = (
            f"stage `{step.name}` measured {text} = {measured}; its gate asks for "
            f"{gate.compare} {bound} ({gate.place})"
        )
        advice = (
            "the trained stage is kept in the store; change the stage or the bound and run again "
            "(a changed bound trains nothing anew)"
        )
    found = error(code, name, message, None, help=advice)
    severity = Severity.ERROR if gate.enforce else Severity.WARNING
    return Diagnostic(code, name, severity, found.message, where, help=advice)


def value(metric: str, amount: float) -> str:
    """A metric's value as people read it: `71.3%`, `0.0123`, `8.41`, `112 tokens`."""
    known = vocabulary.of(metric)
    if known is not None and known.unit == "ratio" and math.isfinite(amount):
        return show(Quantity(round(amount, 4), "ratio"))
    figure = f"{amount:.4g}" if abs(amount) < 10_000 else f"{amount:,.0f}"
    return f"{figure} tokens" if known is not None and known.unit == "tokens" else figure
