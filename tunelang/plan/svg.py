"""A plan as an SVG that stands alone: one box a step, readable on light and on dark paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from rich.cells import cell_len

from tunelang.plan.figures import gib
from tunelang.plan.ir import Plan, Step
from tunelang.plan.layout import Box, Layout, layout

MARGIN = 16.0
LINE = 18.0  # from one line of a box to the next
PADDING = 14.0
# Widths of common sans-serif faces at 13 px: 7.2 is above the mean of Arial, DejaVu and Segoe UI.
CHARACTER = 7.2
# Colours of GitHub's light and dark paper, so that a README shows boxes that belong there.
STYLE = """
  svg { --ink: #1f2328; --faint: #59636e; --line: #818b98; --box: #f6f8fa; --gate: #9a6700 }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #f0f6fc; --faint: #9198a1; --line: #656c76; --box: #151b23; --gate: #d29922 }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Arial, sans-serif; fill: var(--faint) }
  .name { font-weight: 600; fill: var(--ink) }
  .gate { fill: var(--gate) }
  rect { fill: var(--box); stroke: var(--line) }
  .edge { fill: none; stroke: var(--line); stroke-width: 1.5 }
  .head { fill: var(--line) }
"""


def svg(plan: Plan) -> str:
    """A whole document; the order of the plan's steps is the order of its elements."""
    sizes = {step.name: _size(_lines(step)) for step in plan.steps}
    placed = layout(sizes, [(before, step.name) for step in plan.steps for before in step.after])
    root = _root(plan, placed)
    for edge in placed.edges:
        ET.SubElement(root, "path", {"class": "edge", "d": _path(edge), "marker-end": "url(#head)"})
    for step in plan.steps:
        _node(root, step, placed.boxes[step.name])
    ET.indent(root)
    return ET.tostring(root, "unicode") + "\n"


def _root(plan: Plan, placed: Layout) -> ET.Element:
    """The document with its title, its colours and the head of its arrows."""
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"{-MARGIN:g} {-MARGIN:g} {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "role": "img",
        },
    )
    profile = f" with profile {plan.profile}" if plan.profile else ""
    ET.SubElement(root, "title").text = f"The stages of {plan.recipe}{profile}"
    ET.SubElement(root, "style").text = STYLE
    shape = {"id": "head", "viewBox": "0 0 8 8", "refX": "7", "refY": "4", "orient": "auto"}
    marker = ET.SubElement(root, "marker", {**shape, "markerWidth": "6", "markerHeight": "6"})
    ET.SubElement(marker, "path", {"class": "head", "d": "M0 0 8 4 0 8z"})
    return root


def _lines(step: Step) -> Iterator[tuple[str, str]]:
    """The class and the text of each line in a box."""
    yield "name", step.name
    weights = f", {step.weights.kind}" if step.weights and step.weights.kind != "full" else ""
    yield "method", step.method.replace("_", " ") + weights
    facts = [f"{step.schedule.steps:,} steps"] if step.schedule else []
    facts += [gib(step.estimate.peak)] if step.estimate else []
    if facts:
        yield "facts", " · ".join(facts)
    for gate in step.gates:
        yield "gate", f"◆ {gate.measure.text} {gate.compare} {gate.bound:g}"


def _size(lines: Iterator[tuple[str, str]]) -> tuple[float, float]:
    texts = [text for _, text in lines]
    width = max(cell_len(text) for text in texts) * CHARACTER + 2 * PADDING
    return round(width, 1), len(texts) * LINE + PADDING


def _node(root: ET.Element, step: Step, box: Box) -> None:
    group = ET.SubElement(root, "g", {"class": "step"})
    top = box.y - box.height / 2
    place = {"x": f"{box.x:g}", "y": f"{top:g}", "rx": "6"}
    ET.SubElement(group, "rect", {**place, "width": f"{box.width:g}", "height": f"{box.height:g}"})
    for number, (kind, text) in enumerate(_lines(step)):
        y = top + PADDING / 2 + LINE * number + 13  # the baseline of 13 px letters
        place = {"x": f"{box.x + PADDING:g}", "y": f"{y:g}"}
        ET.SubElement(group, "text", {"class": kind, **place}).text = text


def _path(edge: Sequence[Box]) -> str:
    """Level through every bend, a curve between one column and the next."""
    first, *rest = edge
    x, y = first.x + first.width, first.y
    parts = [f"M{x:g} {y:g}"]
    for box in rest:
        middle = (x + box.x) / 2
        parts.append(f"C{middle:g} {y:g} {middle:g} {box.y:g} {box.x:g} {box.y:g}")
        x, y = box.x, box.y
        if box is not rest[-1]:
            x += box.width
            parts.append(f"H{x:g}")
    return " ".join(parts)
