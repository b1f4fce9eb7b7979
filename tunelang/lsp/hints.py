"""Inlay hints: what the plan computed from what is written, shown beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunelang.lsp.document import Document
from tunelang.plan.figures import band, gib, span
from tunelang.plan.ir import Step
from tunelang.syntax.tree import Assignment, Declaration


@dataclass(frozen=True)
class Hint:
    """A few words shown behind the character at `offset`."""

    offset: int
    text: str
    tip: str = ""


def hints(document: Document, start: int, end: int) -> list[Hint]:
    """The hints of the stages between two places."""
    found = []
    for each in document.file.declarations():
        if each.kind.text == "stage" and each.span.end >= start and each.span.start <= end:
            found += list(_stage(each, document))
    return found


def _stage(stage: Declaration, document: Document) -> Iterator[Hint]:
    step = document.step(document.scope.full(stage.name.text))
    if step is None:
        return
    last = stage.extends.span if stage.extends else (stage.type or stage.name).span
    head = ", ".join(_head(step))
    if head:
        yield Hint(last.end, head, "\n\n".join(in_words(step)))
    for item in stage.items or ():
        text = _computed(item, step) if isinstance(item, Assignment) else ""
        if text:
            yield Hint(item.span.end, text)


def _head(step: Step) -> Iterator[str]:
    """`4,875 steps, 18.9 GiB, 3–5 min`."""
    if step.schedule:
        yield f"{step.schedule.steps:,} steps"
    if step.estimate:
        yield gib(step.estimate.peak)
        yield band(step.estimate.seconds_low, step.estimate.seconds_high)


def _computed(item: Assignment, step: Step) -> str:
    """What a value becomes in steps or rows, where it is written in something else."""
    path, written = item.path.text, item.value.span.text
    schedule, batch = step.schedule, step.batch
    if path == "train" and schedule and "steps" not in written:
        return f"= {schedule.steps:,} steps"
    if path == "batch" and batch and "tokens" in written:
        return f"= {batch.size:,} {batch.noun}"
    if path == "schedule" and schedule and schedule.warmup and "%" in written:
        return f"= {schedule.warmup:,} steps of warmup"
    every = {"eval_every": "eval_every", "save_every": "save_every"}.get(path)
    if every and schedule and "%" in written:
        return f"= every {getattr(schedule, every):,} steps"
    return ""


def in_words(step: Step) -> list[str]:
    """A step's plan as a few lines of text."""
    lines = []
    if step.schedule and step.batch:
        steps, batch = step.schedule.steps, step.batch
        lines.append(f"trains {steps:,} steps of {batch.size:,} {batch.noun}")
    if step.estimate:
        low, high = span(step.estimate.seconds_low), span(step.estimate.seconds_high)
        cost = f", ${step.estimate.dollars:,.2f}" if step.estimate.dollars is not None else ""
        lines.append(f"needs {gib(step.estimate.peak)} a device and {low} to {high}{cost}")
        lines.append(f"rests on {step.estimate.basis}")
    return lines
