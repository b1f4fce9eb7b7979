"""A template file is part of what a stage is: its text is planned, wherever the file lies."""

from __future__ import annotations

from pathlib import Path

from tunelang.plan import findings
from tunelang.plan.ir import Step

RECIPE = """tune 1
model base = hf("meta-llama/Llama-3.1-8B", revision = "d04e592")
data talks = hf("a/b", revision = "0aa91c3", format = chat, rows = 20k rows, hold_out = 2%)
hardware pod { gpu = "H100-80GB", count = 8 }
stage chat: instruction_tuning {
  model = base
  data = talks
  template = "turns.jinja"
  on = pod
}
"""
TURNS = (
    "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)


def step(folder: Path, template: str) -> Step:
    folder.mkdir(exist_ok=True)
    (folder / "turns.jinja").write_text(template)
    path = folder / "r.tune"
    path.write_text(RECIPE)
    plan = findings.of_file(path).plan
    assert plan
    return plan.steps[-1]


def test_the_text_is_planned_not_the_path(tmp_path: Path) -> None:
    """Equal files in two places are one stage, another text is another stage."""
    one, same = step(tmp_path / "one", TURNS), step(tmp_path / "two", TURNS)
    assert one.fields["template"] == TURNS
    assert one.key == same.key
    assert step(tmp_path / "one", TURNS.replace(">", ">>")).key != one.key
