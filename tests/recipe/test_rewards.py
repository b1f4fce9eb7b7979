"""What may stand in `reward`: a stage that makes one, a function, or a name of either."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.plan import findings
from tunelang.plan.findings import Findings
from tunelang.plan.ir import Step
from tunelang.rules.pages import CHECKOUT

GROUND = (CHECKOUT / "ground.tune").read_text()
STAGES = """stage chat: instruction_tuning {
  model = small
  data = talks
  template = "chatml"
  length = 2048 tokens
  on = pod
}
stage judge: reward_modeling { model = chat, data = pairs, on = pod }
stage policy: %s {
  policy = chat
  reward = %s
  prompts = %s
  train = 10240 episodes
  on = pod
%s}
"""


def found(
    folder: Path,
    reward: str,
    method: str = "ppo",
    prompts: str = "asks",
    more: str = "",
    top: str = "",
) -> Findings:
    path = folder / "recipe.tune"
    path.write_text(GROUND + top + STAGES % (method, reward, prompts, more))
    return findings.of_file(path)


def policy(read: Findings) -> Step:
    assert read.plan is not None, [each.message for each in read.found]
    return next(step for step in read.plan.steps if step.name == "policy")


def codes(read: Findings) -> list[str]:
    return [each.code for each in read.found if each.severity.value == "error"]


def test_a_reward_model_is_an_input(tmp_path: Path) -> None:
    """The stage's product is loaded, waited for, and no field of the step."""
    step = policy(found(tmp_path, "judge"))
    assert "reward" in step.inputs
    assert "reward" not in step.fields
    assert "judge" in step.after


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("length(40 tokens)", {"kind": "length", "target": 40}),
        ('regex("a+")', {"kind": "regex", "pattern": "a+", "whole": False}),
        ("json", {"kind": "json"}),
        ('json(keys = ["a"])', {"kind": "json", "keys": ["a"]}),
    ],
)
@pytest.mark.parametrize("method", ["ppo", "grpo", "rloo"])
def test_a_function_is_a_field(tmp_path: Path, method: str, written: str, fields: object) -> None:
    """Nothing is loaded for it, and what it says is in the key."""
    step = policy(found(tmp_path, written, method))
    assert "reward" not in step.inputs
    assert "judge" not in step.after
    assert step.fields["reward"] == fields


def test_another_pattern_is_another_key(tmp_path: Path) -> None:
    """And the same pattern by a `let` is the same key."""
    key = policy(found(tmp_path, 'regex("a")')).key
    assert policy(found(tmp_path, 'regex("b")')).key != key
    named = found(tmp_path, "form", top='let form = regex("a")\n')
    assert policy(named).key == key


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("jugde", "TL101"),
        ("chat", "TL115"),
        ("small", "TL114"),
        ('regexp("a")', "TL210"),
        ("length", "TL501"),
        ("length(40)", "TL203"),
        ('"judge"', "TL201"),
        ('regex("(")', "TL527"),
    ],
)
def test_what_is_neither_is_said(tmp_path: Path, written: str, code: str) -> None:
    """Names are sought among stages, functions among functions."""
    assert code in codes(found(tmp_path, written))


def test_answers_are_needed_to_compare_with(tmp_path: Path) -> None:
    """`exact_match` on bare prompts is TL302; on conversations it has the first reply."""
    assert codes(found(tmp_path, "exact_match", "grpo")) == ["TL302"]
    assert codes(found(tmp_path, "exact_match", "grpo", "talks")) == []


def test_no_leash_is_fine_where_answers_are_checked(tmp_path: Path) -> None:
    """TL505 warns of every other reward."""
    free = "  kl { coefficient = 0 }\n"
    warned = {each.code for each in found(tmp_path, "json", "grpo", "talks", free).found}
    assert "TL505" in warned
    right = {each.code for each in found(tmp_path, "exact_match", "grpo", "talks", free).found}
    assert "TL505" not in right


def test_an_epoch_asks_every_prompt_its_group(tmp_path: Path) -> None:
    """19,600 prompts to train on in groups of 8 and rollouts of 128 replies: 1,225 iterations."""
    path = tmp_path / "recipe.tune"
    text = GROUND + STAGES % ("grpo", "json", "asks", "")
    path.write_text(text.replace("10240 episodes", "1 epoch"))
    schedule = policy(findings.of_file(path)).schedule
    assert schedule is not None
    assert schedule.steps == 19_600 * 8 // 128


def test_texts_are_in_the_key_and_must_be_texts(tmp_path: Path) -> None:
    """`pretraining.data` is read beside the prompts."""
    plain = policy(found(tmp_path, "json"))
    mixed = policy(found(tmp_path, "json", more="  pretraining { data = texts }\n"))
    assert plain.pretraining is None
    assert mixed.pretraining is not None
    assert mixed.pretraining.name == "texts"
    assert mixed.key != plain.key
    assert codes(found(tmp_path, "json", more="  pretraining { data = pairs }\n")) == ["TL302"]


@pytest.mark.parametrize(
    ("reward", "start", "expected"),
    [
        ("judge", "judge", []),
        ("judge", "chat", []),
        ("judge", "small", ["TL714"]),
        ("json", "judge", ["TL714"]),
    ],
)
def test_a_critic_starts_from_reward_or_policy(
    tmp_path: Path, reward: str, start: str, expected: list[str]
) -> None:
    """Anything else would be ignored, and is refused."""
    assert codes(found(tmp_path, reward, more=f"  value {{ from = {start} }}\n")) == expected
