"""When a reference is read before a stage and when along with it, and who shares what it said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.plan.build import build
from tunelang.plan.ir import Plan, Step
from tunelang.plan.reference import LOG_PROBS, METHOD
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import resolve

GROUND = """tune 1
model seedling = scratch(tokenizer = ["text.txt"], hidden = 32, layers = 1, vocabulary = 300)
model other = scratch(tokenizer = ["text.txt"], hidden = 32, layers = 1, vocabulary = 300, seed = 5)
data pairs = files("pairs.jsonl", hold_out = 2 rows)
defaults stage { precision = fp32, length = 64 tokens, lr = 1e-3 }
"""


def planned(folder: Path, text: str, **sets: str) -> Plan:
    (folder / "text.txt").write_text("some words to read\n" * 20)
    rows = [f'{{"prompt": "{at}", "chosen": "yes", "rejected": "no"}}\n' for at in range(10)]
    (folder / "pairs.jsonl").write_text("".join(rows))
    path = folder / "recipe.tune"
    path.write_text(GROUND + text)
    resolved = resolve(path, Settings(sets=sets))
    assert resolved.recipe, resolved.found
    plan, found = build(resolved.recipe)
    assert plan, [each.message for each in found]
    return plan


def computing(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.method == METHOD]


def stage(name: str, method: str, fields: str) -> str:
    return f"stage {name}: {method} {{\n  model = seedling\n  data = pairs\n  {fields}\n}}\n"


LORA = "weights = lora\n  batch = 4 pairs"
AUTO = {
    "lora for an epoch": (LORA, 0),
    "lora for two epochs": (f"{LORA}\n  train = 2 epochs", 1),
    "every weight": ("batch = 4 pairs", 1),
    "another reference": (f"{LORA}\n  reference = other", 1),
    "said to be live": ("batch = 4 pairs\n  reference_log_probs = live", 0),
    "said to be before": (f"{LORA}\n  reference_log_probs = precomputed", 1),
}


@pytest.mark.parametrize("case", AUTO)
def test_before_only_where_it_saves(tmp_path: Path, case: str) -> None:
    """One epoch of lora from its own start reads the reference live; all else before."""
    fields, steps = AUTO[case]
    plan = planned(tmp_path, stage("better", "dpo", fields))
    assert len(computing(plan)) == steps
    better = next(step for step in plan.steps if step.name == "better")
    assert (LOG_PROBS in better.inputs) == bool(steps)
    assert [step.name for step in computing(plan)] == ["better.reference"][:steps]
    assert ("better.reference" in better.after) == bool(steps)


def test_a_sweep_reads_it_before(tmp_path: Path) -> None:
    """The points of a sweep over beta share one reading, so one epoch of lora is worth it too."""
    sweep = "sweep betas {\n  axes { better.beta = [0.05, 0.1] }\n}\n"
    keys = set()
    for beta in ("0.05", "0.1"):
        plan = planned(tmp_path, stage("better", "dpo", LORA) + sweep, **{"better.beta": beta})
        keys.add(computing(plan)[0].key)
    assert len(keys) == 1


def test_stages_share_one_reading(tmp_path: Path) -> None:
    """dpo, ipo and a ranking over the same rows read one object; of rows cut elsewhere another."""
    text = stage("one", "dpo", "batch = 4 pairs") + stage("two", "ipo", "batch = 2 pairs")
    text += stage("three", "comparative_ranking", "batch = 4 lists")
    text += stage("four", "dpo", "batch = 4 pairs\n  length = 32 tokens")
    plan = planned(tmp_path, text)
    assert [step.name for step in computing(plan)] == ["one.reference", "four.reference"]


def test_losses_without_a_reference_have_no_step(tmp_path: Path) -> None:
    """rrhf, simpo and orpo train every weight, and nothing is read for them."""
    text = stage("one", "comparative_ranking", "batch = 4 lists\n  loss = rrhf")
    text += stage("two", "simpo", "batch = 4 pairs") + stage("three", "orpo", "batch = 4 pairs")
    assert not computing(planned(tmp_path, text))
