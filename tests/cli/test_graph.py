"""`tunelang graph --format svg`: what stands where, and that the file stands alone."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path
from random import Random
from xml.etree import ElementTree as ET

import pytest

from tunelang.plan.build import build
from tunelang.plan.graph import dot, mermaid
from tunelang.plan.ir import Plan
from tunelang.plan.layout import Box, layout
from tunelang.plan.svg import svg
from tunelang.recipe.resolve import resolve

ROOT = Path(__file__).parents[2]
STACK = ROOT / "recipes" / "llama-8b-rlhf.tune"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def plan() -> Plan:
    recipe = resolve(STACK).recipe
    assert recipe
    made = build(recipe)[0]
    assert made
    return made


def test_an_svg_has_a_box_for_every_stage(plan: Plan) -> None:
    """And an edge for every reference; nothing in it is loaded from elsewhere."""
    root = ET.fromstring(svg(plan))
    boxes = root.findall(f"{SVG}g")
    names = [box.findtext(f"{SVG}text") for box in boxes]
    assert names == ["domain", "chat", "judge", "policy"]
    assert len(root.findall(f"{SVG}path")) == sum(len(step.after) for step in plan.steps)
    text = svg(plan).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text and "@import" not in text and "href" not in text
    assert "prefers-color-scheme: dark" in text
    assert svg(plan) == svg(plan)


def test_names_are_escaped(plan: Plan) -> None:
    """A method of a plug-in may be called anything."""
    odd = plan.steps[0].model_copy(update={"method": '<b>&"]]>', "name": "a<b"})
    root = ET.fromstring(svg(Plan(recipe="<r>", profile=None, steps=[odd])))
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert texts[:2] == ["a<b", '<b>&"]]>']


def test_stages_may_be_called_like_words_of_the_languages(plan: Plan) -> None:
    """`end` would end a Mermaid graph, `node` would set DOT's defaults."""
    steps = [
        plan.steps[0].model_copy(update={"name": "end", "after": []}),
        plan.steps[1].model_copy(update={"name": "node", "after": ["end"]}),
    ]
    named = Plan(recipe="r", profile=None, steps=steps)
    assert "\n  end_ --> node_\n" in mermaid(named) and '["end<br/>' in mermaid(named)
    assert "\n  end_ -> node_;\n" in dot(named) and '[label="node\\n' in dot(named)


def test_no_plan_is_too_small() -> None:
    """A recipe without stages is an empty picture."""
    assert ET.fromstring(svg(Plan(recipe="r", profile=None, steps=[]))) is not None


@pytest.mark.parametrize("seed", range(25))
def test_boxes_never_touch_and_edges_point_right(seed: int) -> None:
    """On random graphs: no two boxes overlap, all lie in the picture, edges run to the right."""
    random = Random(seed)
    names = [f"n{number}" for number in range(random.randint(1, 14))]
    edges = [pair for pair in combinations(names, 2) if random.random() < 0.25]
    sizes = {name: (random.uniform(60, 200), random.uniform(30, 90)) for name in names}
    placed = layout(sizes, edges)
    assert list(placed.boxes) == names and len(placed.edges) == len(edges)
    for one, other in combinations(placed.boxes.values(), 2):
        assert apart(one, other)
    for box in placed.boxes.values():
        assert 0 <= box.x <= placed.width - box.width + 1e-6
        assert box.height / 2 - 1e-6 <= box.y <= placed.height - box.height / 2 + 1e-6
    for edge in placed.edges:
        assert all(a.x + a.width < b.x for a, b in pairwise(edge))
        for bend in edge[1:-1]:
            assert all(apart(bend, box) for box in placed.boxes.values())


def apart(one: Box, other: Box) -> bool:
    """Side by side, or one above the other."""
    beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    return beside or abs(one.y - other.y) >= (one.height + other.height) / 2


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    """`-o` writes what stdout would get; a place that cannot be is a finding."""
    (tmp_path / "file").write_text("")

    def graph(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tunelang", "graph", "--format", "svg", str(STACK)]
        return subprocess.run([*command, *words], capture_output=True, text=True, cwd=tmp_path)

    assert graph("-o", "new/g.svg").stdout == ""
    assert (tmp_path / "new" / "g.svg").read_text() == graph().stdout
    blocked = graph("-o", "file/g.svg")
    assert blocked.returncode == 1 and "TL013" in blocked.stderr
