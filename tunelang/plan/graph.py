"""A plan as a Mermaid or DOT graph: one node a step, edges from references."""

from __future__ import annotations

from tunelang.plan.ir import Plan

# Words that Mermaid's flowcharts or the DOT language would read as their own, in lower case.
WORDS = "class classdef click default digraph direction edge end flowchart graph href interpolate"
RESERVED = frozenset([*WORDS.split(), "linkstyle", "node", "strict", "style", "subgraph"])


def mermaid(plan: Plan) -> str:
    """Mermaid text, left to right."""
    lines = ["graph LR"]
    lines += [f'  {_id(step.name)}["{step.name}<br/>{step.method}"]' for step in plan.steps]
    lines += [
        f"  {_id(before)} --> {_id(step.name)}" for step in plan.steps for before in step.after
    ]
    return "\n".join(lines) + "\n"


def dot(plan: Plan) -> str:
    """Graphviz text, left to right."""
    lines = ["digraph plan {", "  rankdir=LR; node [shape=box];"]
    lines += [f'  {_id(step.name)} [label="{step.name}\\n{step.method}"];' for step in plan.steps]
    lines += [
        f"  {_id(before)} -> {_id(step.name)};" for step in plan.steps for before in step.after
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _id(name: str) -> str:
    """The name as both languages take it; the label beside it is the name itself."""
    return f"{name}_" if name.lower() in RESERVED else name.replace(".", "_")
