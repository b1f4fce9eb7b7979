"""The plan gives every data set of a step its own words, or none where it is read as it is.

Seen to fail: with `worded` left out of the build (seed 0, and a classifier's key that changes with
the templates); with `recognised` and with `unasked` left out of `RULES`; with gates passed over.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunelang.plan import findings
from tunelang.plan.ir import DataPart, Step
from tunelang.source import Source
from tunelang.sources.parts import Wording

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
  {moods}
)
data sums = inline(
  [row(prompt = "1 + 1", completion = "2"), row(prompt = "1 + 2", completion = "3")],
  hold_out = 1 rows,
  {sums}
)
data talks = files(
  "talks.jsonl",
  hold_out = 1 rows,
  {talks}
)
mix tasks { moods = 50%, sums = 25%, talks = 25% }
"""
ASKED = 'templates = ["{text}?"]'
MANY = "stage many: multi_task { model = base, data = tasks, seed = 5, train = 2 steps }\n"
CLASSES = "stage told: transfer { model = base, data = moods, head = classes, train = 2 steps }\n"
FEW = "stage few: few_shot { model = base, data = moods, mode = in_context(shots = 2) }\n"
TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def of(folder: Path, stages: str, **fields: str) -> findings.Findings:
    """What is found of these stages; `fields` are more fields of the data sets."""
    (folder / "t.txt").write_text("the cat sat on the mat. " * 50)
    talks = [json.dumps({"messages": TURNS * at}) + "\n" for at in (1, 2, 3)]
    (folder / "talks.jsonl").write_text("".join(talks))
    said = {name: fields.get(name, "") for name in ("moods", "sums", "talks")}
    text = HEAD
    for name, more in said.items():
        text = text.replace(f"  {{{name}}}\n", f"  {more},\n" if more else "")
    return findings.of_text(Source("r.tune", text + stages), folder)


def step_of(folder: Path, stages: str, **fields: str) -> Step:
    """The last step of a sound recipe."""
    found = of(folder, stages, **fields)
    assert found.plan, found.found
    assert not errors(found), found.found
    return found.plan.steps[-1]


def errors(found: findings.Findings) -> list[str]:
    return [each.code for each in found.found if str(each.severity.value) == "error"]


def words(parts: list[DataPart]) -> dict[str, Wording | None]:
    return {part.name: part.wording for part in parts}


def test_each_part_of_a_mix_has_its_own_words(tmp_path: Path) -> None:
    """Templates of their own, the stage's seed, and none for conversations."""
    step = step_of(tmp_path, MANY, moods=ASKED, sums='templates = ["LOUD {prompt}"]')
    assert step.data
    assert words(step.data.parts) == {
        "moods": Wording(templates=["{text}?"], seed=5),
        "sums": Wording(templates=["LOUD {prompt}"], seed=5),
        "talks": None,
    }


def test_a_gate_has_the_words_of_its_data(tmp_path: Path) -> None:
    """Measured in the words of the set that the gate names, chosen by the stage's seed."""
    gated = "stage chat: instruction_tuning { model = base, data = talks, seed = 5, train = 2 steps"
    step = step_of(tmp_path, f"{gated}, gate {{ loss(moods.hold_out) < 9 }} }}\n", moods=ASKED)
    assert words([gate.measure.data for gate in step.gates if gate.measure.data]) == {
        "moods": Wording(templates=["{text}?"], seed=5)
    }


@pytest.mark.parametrize("stage", [CLASSES, FEW])
def test_what_reads_rows_as_they_are_has_no_words(tmp_path: Path, stage: str) -> None:
    """A change of the templates is no change of a classifier or of few_shot."""
    bare, asked = step_of(tmp_path, stage), step_of(tmp_path, stage, moods=ASKED)
    assert asked.data and words(asked.data.parts) == {"moods": None}
    assert asked.key == bare.key


def test_other_words_are_another_step(tmp_path: Path) -> None:
    """Templates, held-out ones and labels are in the key."""
    said = (ASKED, 'templates = ["{text}!"]', ASKED + ', hold_out_templates = ["{text}."]')
    more = (*said, ASKED + ', labels = ["no", "yes"]')
    assert len({step_of(tmp_path, MANY, moods=each).key for each in more}) == 4


def test_an_evaluation_asks_in_the_words_of_the_data(tmp_path: Path) -> None:
    """A model that writes is asked in words; a classifier reads the texts."""
    stage = "stage seen: evaluate {{ model = {model}, data = moods }}\n"
    spoken = step_of(tmp_path, stage.format(model="base"), moods=ASKED)
    told = step_of(tmp_path, CLASSES + stage.format(model="told"), moods=ASKED)
    assert spoken.data and spoken.data.parts[0].wording
    assert told.data and not told.data.parts[0].wording


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "TL302"),  # labels that nothing asks for
        ({"moods": ASKED, "talks": 'templates = ["{prompt}"]'}, "TL302"),
        ({"moods": ASKED, "sums": 'templates = ["{text}"]'}, "TL420"),
        ({"moods": 'templates = ["{text} {options}"]'}, "TL420"),
        ({"moods": 'labels = ["no", "yes"]'}, "TL302"),
    ],
)
def test_rows_whose_format_is_recognised_are_looked_at(
    tmp_path: Path, fields: dict[str, str], code: str
) -> None:
    """Nobody wrote the formats of these sets, and the mistake is found before the run."""
    assert set(errors(of(tmp_path, MANY, **fields))) == {code}


def test_labels_in_a_gate_need_a_question(tmp_path: Path) -> None:
    """TL302 for a gate of a stage that trains replies."""
    stage = "stage chat: sft { model = base, data = sums, train = 2 steps"
    stage += ", gate { loss(moods.hold_out) < 9 } }\n"
    assert errors(of(tmp_path, stage)) == ["TL302"]
