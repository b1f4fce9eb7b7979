"""Scoring experts is a step of its own, keyed by what its scores depend on and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic, has_errors
from tunelang.plan.build import build
from tunelang.plan.ir import Plan
from tunelang.recipe.resolve import resolve
from tunelang.rules import check

ROOT = Path(__file__).parents[2]
GROUND = (ROOT / "recipes" / "esft.tune").read_text().replace('"data/', f'"{ROOT}/recipes/data/')
DENSE = """
stage dense: esft { model = plain, data = talks }
model plain = scratch(tokenizer = ["texts.txt"])
"""


def planned(folder: Path, text: str = "") -> tuple[Plan | None, list[Diagnostic]]:
    """The plan of the shipped recipe with more below it, and every finding."""
    path = folder / "r.tune"
    path.write_text(GROUND + text)
    (folder / "texts.txt").write_text("words")
    resolved = resolve(path)
    assert resolved.recipe, resolved.found
    plan, found = build(resolved.recipe)
    return plan, [*check(resolved), *found]


def keys(folder: Path, text: str = "") -> dict[str, str]:
    plan, found = planned(folder, text)
    assert plan and not has_errors(found), [each.message for each in found]
    return {step.name: step.key for step in plan.steps}


def test_one_pass_serves_every_choice(tmp_path: Path) -> None:
    """Two scores, two masses and another rate: one scoring step, which all of them wait for."""
    more = "stage faster extends special { lr = 1e-3, weights = experts(mass = 50%) }\n"
    plan, _ = planned(tmp_path, more)
    assert plan
    scoring = [step for step in plan.steps if step.method == "expert_scores"]
    tuned = [step for step in plan.steps if step.method == "esft"]
    assert len(scoring) == 1 and len(tuned) == 3
    assert len({step.key for step in tuned}) == 3
    for step in tuned:
        assert scoring[0].name in step.after
        assert step.inputs["scores"].model_dump() == {"kind": "store", "key": scoring[0].key}
    assert scoring[0].place.device == tuned[0].place.device
    assert scoring[0].estimate


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("lr = 1e-4", False),
        ("train = 5 steps", False),
        ("weights = experts(score = gate)", False),
        ("loss_on = all", False),
        ("weights = experts(sample = 9k tokens)", True),
        ("length = 128 tokens", True),
        ("data = handbook", True),
        ("model = mixture", True),
        ('template = "llama3"', True),
    ],
)
def test_the_key_of_the_scores(tmp_path: Path, change: str, again: bool) -> None:
    """What changes the scores makes another pass; what does not finds it done."""
    found = keys(tmp_path, f"stage other extends special {{ {change} }}\n")
    assert ("other.expert_scores" in found) is again


def test_a_config_is_part_of_the_key_by_its_content(tmp_path: Path) -> None:
    """Nothing is scored; another file with the same experts is the same stage."""
    for name, experts in (("a", "[1, 2]"), ("b", "[1, 2]"), ("c", "[1, 3]")):
        (tmp_path / f"{name}.json").write_text(f'{{"experts": {{"1": {experts}}}}}')
    stage = 'stage {0} extends special {{ weights = experts(config = "{0}.json") }}\n'
    found = keys(tmp_path, "".join(stage.format(name) for name in "abc"))
    assert found["a"] == found["b"] != found["c"]
    assert not [name for name in found if name in ("a.expert_scores", "b.expert_scores")]


def test_what_cannot_be_is_refused_before_the_run(tmp_path: Path) -> None:
    """Experts of a dense model, a config that is none, experts in few bits."""
    for text, code in (
        (DENSE, "TL514"),
        ('stage s extends special { weights = experts(config = "texts.txt") }', "TL538"),
        ('stage s extends special { weights = experts(config = "none.json") }', "TL538"),
    ):
        _, found = planned(tmp_path, text)
        assert code in {each.code for each in found}, [each.message for each in found]


@pytest.mark.parametrize("weights", ["qlora(rank = 8)", "lora", "full", "experts(rank = 8)"])
def test_esft_takes_experts_alone(tmp_path: Path, weights: str) -> None:
    """Every other kind of weights is refused by `check`."""
    path = tmp_path / "r.tune"
    path.write_text(GROUND + f"stage s extends special {{ weights = {weights} }}\n")
    assert has_errors(resolve(path).found)


def test_supervised_methods_take_experts_too(tmp_path: Path) -> None:
    """sft, instruction_tuning and domain_adaptation train experts where they are asked to."""
    stages = "".join(
        f"stage {name}: {name} {{ model = general, data = {data}, weights = experts, "
        "train = 50 steps }\n"
        for name, data in (("instruction_tuning", "talks"), ("domain_adaptation", "handbook"))
    )
    found = keys(tmp_path, stages)
    assert {"instruction_tuning.expert_scores", "domain_adaptation.expert_scores"} <= set(found)
