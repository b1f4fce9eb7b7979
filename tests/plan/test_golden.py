"""Three recipes on four machines: what is chosen for every stage, held against golden files.

`pytest tests/plan/test_golden.py --update` writes them anew; the diff is the review.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunelang.plan import findings
from tunelang.plan.ir import Step
from tunelang.recipe.overrides import Settings

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
RECIPES = {"llama-8b-rlhf": "pod", "sft-gpu": "card", "policy-gpu": "card"}  # and their hardware
MACHINES = {
    "1 x 24 GB": ("RTX 4090", 1, 1),
    "1 x 80 GB": ("H100-80GB", 1, 1),
    "8 x 80 GB": ("H100-80GB", 8, 1),
    "4 nodes of 8 x 80 GB": ("H100-80GB", 8, 4),
}
CHOICES = ("gpus", "processes", "nodes", "micro", "accumulate", "checkpointing", "loss")
MORE = ("sharding", "offload", "launcher")
# In a process of its own: what a plan takes, start and imports left out, and what it imports.
TIMED = """
import sys, time
from pathlib import Path
from tunelang.plan.build import build
from tunelang.plan import findings
start = time.process_time()
findings.of_file(Path(sys.argv[1]))
print(time.process_time() - start)
assert not {"torch", "transformers", "numpy"} & set(sys.modules)
"""


def planned(recipe: str, machine: str) -> dict[str, Any]:
    """Each stage's choices and verdict on a machine."""
    gpu, count, nodes = MACHINES[machine]
    box = RECIPES[recipe]
    sets = {f"{box}.gpu": f'"{gpu}"', f"{box}.count": str(count), f"{box}.nodes": str(nodes)}
    found = findings.of_file(ROOT / "recipes" / f"{recipe}.tune", Settings(sets=sets))
    assert found.plan
    said = [(each.name, each.message) for each in found.found]
    return {step.name: chosen(step, said) for step in found.plan.steps}


def chosen(step: Step, said: list[tuple[str, str]]) -> dict[str, Any]:
    """What was chosen, and whether it fits: as the plan says, or what it says against it."""
    mine = [name for name, message in said if f"`{step.name}`" in message]
    against = [name for name in mine if name in ("does-not-fit", "tight-fit")]
    against += [name for name in mine if name == "batch-not-divisible"]
    place = {name: getattr(step.place, name) for name in (*CHOICES, *MORE)}
    return {"verdict": against[0] if against else "fits", **place}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_choice_is_the_golden_one(recipe: str, update: bool) -> None:
    """On 24 GB, on 80 GB, on eight cards and on four nodes of them."""
    found = {machine: planned(recipe, machine) for machine in MACHINES}
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"{recipe}.json"
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_plan_takes_less_than_a_second_and_no_torch(recipe: str) -> None:
    """Of processor time, so that a busy machine does not count."""
    path = str(ROOT / "recipes" / f"{recipe}.tune")
    ran = subprocess.run([sys.executable, "-c", TIMED, path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < 1.0
