"""few_shot is three methods under one name, and what it makes decides what may follow.

Seen to fail: with the modes left out of `settle`, with the products of the modes all "lm".
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic
from tunelang.plan import findings
from tunelang.recipe import lock
from tunelang.source import Source
from tunelang.units import Quantity

HEAD = """tune 1
model base = scratch(tokenizer = ["t.txt"], hidden = 64, layers = 2, positions = 2048, seed = 1)
data moods = inline(
  [
    row(text = "sun", label = "happy"),
    row(text = "warm", label = "happy"),
    row(text = "rain", label = "sad"),
    row(text = "cold", label = "sad"),
  ],
  hold_out = 2 rows,
)
data asks = inline([row(prompt = "a"), row(prompt = "b"), row(prompt = "c")], hold_out = 1 rows)
data pairs = inline(
  [
    row(prompt = "a", chosen = "b", rejected = "c"),
    row(prompt = "d", chosen = "e", rejected = "f"),
    row(prompt = "g", chosen = "h", rejected = "i"),
  ],
  hold_out = 1 rows,
)
"""
JUDGE = "stage judge: reward_modeling { model = base, data = pairs }\n"
STAGE = "stage few: few_shot {{ model = base, data = moods, mode = {mode} }}\n"


def of(text: str, tmp_path: Path) -> findings.Findings:
    (tmp_path / "t.txt").write_text("the cat sat on the mat. " * 50)
    return findings.of_text(Source("r.tune", HEAD + text), tmp_path)


def errors(text: str, tmp_path: Path) -> list[Diagnostic]:
    return [each for each in of(text, tmp_path).found if str(each.severity.value) == "error"]


@pytest.mark.parametrize(
    ("mode", "product", "worker"),
    [
        ("in_context", "prompted", "few_shot"),
        ("tuned", "lm", "tfew"),
        ("contrastive", "classifier", "contrastive"),
    ],
)
def test_a_mode_decides_what_is_made(mode: str, product: str, worker: str, tmp_path: Path) -> None:
    """Product and worker follow the word; what does not train has no weights, batch or rate."""
    plan = of(STAGE.format(mode=mode), tmp_path).plan
    assert plan is not None
    step = next(each for each in plan.steps if each.name == "few")
    assert (step.product, step.worker) == (product, f"tunelang.train.{worker}")
    trains = mode != "in_context"
    held = (step.weights, step.batch, step.lr, step.schedule)
    assert all((each is not None) == trains for each in held)


def test_defaults_are_of_the_mode(tmp_path: Path) -> None:
    """T-Few: IA3, 1000 steps of 8 at 3e-3, 6% warmup; SetFit: 16 pairs at 2e-5, 40 per row."""
    text = STAGE.format(mode="tuned") + STAGE.format(mode="contrastive").replace("few:", "set:")
    resolved = of(text, tmp_path).resolved
    assert resolved is not None
    assert resolved.recipe is not None
    tuned, contrasted = (resolved.recipe.stages[name] for name in ("few", "set"))
    assert tuned.get("weights").name == "ia3"
    assert tuned.get("train") == Quantity(1000, "steps")
    assert tuned.get("batch") == Quantity(8, "sequences")
    assert tuned.get("lr") == 3e-3
    assert tuned.get("schedule").name == "linear"
    assert tuned.get("schedule").get("warmup").amount == 0.06
    assert contrasted.get("weights").name == "full"
    assert contrasted.get("train") == Quantity(40, "epochs")
    assert contrasted.get("batch") == Quantity(16, "pairs")
    assert contrasted.get("lr") == 2e-5


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("in_context", "lr = 1e-3"),
        ("in_context", "weights = full"),
        ("tuned", "embedding = base"),
        ("contrastive", 'new_tokens = ["a"]'),
    ],
)
def test_what_a_mode_lacks_is_unknown(mode: str, line: str, tmp_path: Path) -> None:
    """A field of another mode is TL102, never passed over."""
    text = STAGE.format(mode=mode).replace(" }\n", f", {line} }}\n")
    assert [each.code for each in errors(text, tmp_path)] == ["TL102"]


def test_defaults_of_stages_reach_the_modes_that_have_the_field(tmp_path: Path) -> None:
    """`defaults stage` is soft: it does not reach where the mode lacks the field."""
    text = "defaults stage { lr = 1e-3, precision = fp32 }\n" + STAGE.format(mode="in_context")
    assert errors(text, tmp_path) == []


def test_a_mode_has_its_own_formats(tmp_path: Path) -> None:
    """Contrast needs labelled rows: questions with replies are TL302."""
    rows = 'data talk = inline([row(prompt = "a", reply = "b")], format = instruct)\n'
    text = rows + "stage few: few_shot { model = base, data = talk, mode = contrastive }\n"
    assert [each.code for each in errors(text, tmp_path)] == ["TL302"]


def test_a_mode_is_needed_and_known(tmp_path: Path) -> None:
    """Without one TL501, with an unknown one TL210; nothing is said twice."""
    without = STAGE.format(mode="tuned").replace(", mode = tuned", "")
    assert [each.code for each in errors(without, tmp_path)] == ["TL501"]
    assert [each.code for each in errors(STAGE.format(mode="tunde"), tmp_path)] == ["TL210"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("contrastive", "ppo { policy = few, reward = judge, prompts = asks }"),
        ("contrastive", "few_shot { model = few, data = moods, mode = in_context }"),
        ("contrastive", "generate { model = few, prompts = asks }"),
        ("in_context", "few_shot { model = few, data = moods, mode = tuned }"),
        ("in_context", "reward_modeling { model = few, data = pairs }"),
    ],
)
def test_what_cannot_follow(first: str, then: str, tmp_path: Path) -> None:
    """A classifier writes nothing, a prompted model has no weights to train: TL115, two spans."""
    judge = JUDGE if "judge" in then else ""
    told = errors(judge + STAGE.format(mode=first) + f"stage next: {then}\n", tmp_path)
    assert [each.code for each in told] == ["TL115"]
    assert told[0].at is not None
    assert told[0].others
    assert told[0].others[0].span.text == "few"


def test_a_prompted_model_generates(tmp_path: Path) -> None:
    """It writes replies, so generate takes it."""
    text = (
        STAGE.format(mode="in_context") + "stage next: generate { model = few, prompts = asks }\n"
    )
    assert errors(text, tmp_path) == []


def test_another_model_that_compares_is_in_the_plan(tmp_path: Path) -> None:
    """`embedding` is made before the stage, and changes its key."""
    other = (
        HEAD.splitlines()[1].replace("model base", "model other").replace("seed = 1", "seed = 2")
    )
    stage = STAGE.format(mode="in_context(select = nearest)")
    named = stage.replace("data =", "embedding = other, data =")
    plans = [of(text, tmp_path).plan for text in (stage, f"{other}\n{named}")]
    assert plans[0] is not None
    assert plans[1] is not None
    steps = {step.name: step for step in plans[1].steps}
    assert set(steps["few"].after) == {"base", "other"}
    assert steps["few"].key != next(s for s in plans[0].steps if s.name == "few").key


def test_every_mode_is_locked_by_itself(tmp_path: Path) -> None:
    """Two modes in one recipe have a version and defaults each."""
    text = STAGE.format(mode="tuned") + STAGE.format(mode="contrastive").replace("few:", "set:")
    resolved = of(text, tmp_path).resolved
    assert resolved is not None
    assert resolved.recipe is not None
    held = lock.methods(resolved.recipe)
    assert {name: table["defaults"]["lr"] for name, table in held.items()} == {
        "few_shot-tuned": "0.003",
        "few_shot-contrastive": "2e-5",
    }
