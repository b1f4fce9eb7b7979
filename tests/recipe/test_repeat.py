"""A batch that follows the machine is found wherever the profile changes it, and trials are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.plan import findings
from tunelang.source import Source

RECIPE = """tune 1
let size = 64 sequences
model small = hf("Qwen/Qwen2.5-0.5B", revision = "060db64")
data talks = hf("acme/talks", revision = "0aa91c3", format = chat, rows = 20k rows, hold_out = 2%)
hardware pod {{ gpu = "H100-80GB", count = 8 }}
stage chat: instruction_tuning {{
  model = small
  data = talks
  template = "chatml"
  batch = size
  on = pod
}}
profile card {{ pod {{ count = 1 }}, {profile} }}
"""


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        ("chat.batch = 8 sequences", True),
        ("every stage { batch = 8 sequences }", True),
        ("size = 8 sequences", True),
        ("size = 8 sequences, chat.train = 20 steps", False),
        ("chat.micro = 8 sequences", False),
    ],
)
def test_another_batch(profile: str, found: bool) -> None:
    """By its path, by kind, or by the name that it has."""
    source = Source("recipe.tune", RECIPE.format(profile=profile))
    names = {each.name for each in findings.of_text(source, Path()).found}
    assert ("batch-follows-machine" in names) is found


def test_a_template_of_one_machine() -> None:
    """A template's path is one as well; the name of a built-in template is none."""
    text = RECIPE.format(profile="chat.micro = 8 sequences")
    for template, found in (("chatml", False), ("/srv/chat.jinja", True)):
        source = Source("recipe.tune", text.replace("chatml", template))
        names = {each.name for each in findings.of_text(source, Path()).found}
        assert ("local-path" in names) is found
