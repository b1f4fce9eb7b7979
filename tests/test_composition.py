"""What may follow what: pairs of stages that make no sense are found before anything runs.

The pairs of the design's section 5.4. An error shows both places: where the two are joined, and
what makes it wrong. Pairs that cannot be written at all are held by the fields that do not exist.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic, Severity
from tunelang.plan import findings
from tunelang.rules.pages import CHECKOUT

GROUND = (CHECKOUT / "ground.tune").read_text()
MORE = """
model mixture = hf("allenai/OLMoE-1B-7B-0924", revision = "5c8d04a", licence = "apache-2.0")
data kinds = hf(
  "acme/kinds",
  revision = "0aa91c3",
  format = labelled,
  rows = 20k rows,
  hold_out = 2%,
  licence = "cc0",
)
data answers = hf(
  "acme/answers",
  revision = "0aa91c3",
  format = instruct,
  rows = 20k rows,
  hold_out = 2%,
  licence = "cc0",
)
"""
CHAT = """
stage chat: instruction_tuning {
  model = small
  data = talks
  template = "chatml"
  on = pod
}
"""
QUANTISED = CHAT.replace("data = talks", "data = talks\n  weights = qlora(rank = 16)\n  lr = 1e-4")
JUDGE = """
stage judge: reward_modeling {
  model = chat
  data = pairs
  on = pod
}
"""
CLASSES = """
stage classes: transfer {
  model = small
  data = kinds
  on = pod
}
"""


def stage(name: str, *lines: str) -> str:
    body = "\n".join(f"  {line}" for line in (*lines, "on = pod"))
    return f"\nstage last: {name} {{\n{body}\n}}\n"


ERROR, WARNING = Severity.ERROR, Severity.WARNING
FROM_CHAT = ("policy = chat", "prompts = asks")
# pair: chain, code, severity
PAIRS: dict[str, tuple[str, str, Severity]] = {
    "ppo before any reward": (CHAT + stage("ppo", *FROM_CHAT), "TL501", ERROR),
    "grpo before any reward": (CHAT + stage("grpo", *FROM_CHAT), "TL501", ERROR),
    "dpo on a raw base": (stage("dpo", "model = small", "data = pairs"), "TL506", WARNING),
    "ranking on a raw base": (
        stage("comparative_ranking", "model = small", "data = pairs"),
        "TL506",
        WARNING,
    ),
    "ppo on a raw base": (
        CHAT
        + JUDGE.replace("chat", "small")
        + stage("ppo", "policy = small", "prompts = asks", "reward = judge"),
        "TL506",
        WARNING,
    ),
    "a reward tuned on as a policy": (
        CHAT + JUDGE + stage("sft", "model = judge", "data = talks"),
        "TL115",
        ERROR,
    ),
    "a policy as a reward": (
        CHAT + stage("ppo", *FROM_CHAT, "reward = chat"),
        "TL115",
        ERROR,
    ),
    "a reward of another tokenizer": (
        CHAT
        + JUDGE.replace("model = chat", "model = base")
        + stage("ppo", *FROM_CHAT, "reward = judge"),
        "TL409",
        ERROR,
    ),
    "full tuning of weights in few bits": (
        QUANTISED + stage("sft", "model = chat", "data = answers"),
        "TL412",
        ERROR,
    ),
    "a merge into few bits": (
        QUANTISED + stage("merge", "model = chat", "onto = quantised"),
        "TL413",
        WARNING,
    ),
    "esft on a dense model": (stage("esft", "model = small", "data = talks"), "TL514", ERROR),
    "few bits over experts": (
        stage("domain_adaptation", "model = mixture", "data = texts", "weights = qlora(rank = 8)"),
        "TL418",
        ERROR,
    ),
    "esft over few bits": (
        stage("esft", "model = mixture", "data = talks", "weights = qlora(rank = 8)"),
        "TL104",
        ERROR,
    ),
    "a judgement where pairs are needed": (
        CHAT + stage("kto", "model = chat", "data = pairs"),
        "TL302",
        ERROR,
    ),
    "pairs where judgements are needed": (
        CHAT + stage("dpo", "model = chat", "data = talks"),
        "TL302",
        ERROR,
    ),
    "a classifier as a policy": (
        CHAT
        + JUDGE
        + CLASSES
        + stage("ppo", "policy = classes", "prompts = asks", "reward = judge"),
        "TL115",
        ERROR,
    ),
    "a classifier shown examples": (
        CLASSES + stage("few_shot", "model = classes", "data = kinds", "mode = in_context"),
        "TL115",
        ERROR,
    ),
    "a classifier asked to write": (
        CLASSES + stage("generate", "model = classes", "prompts = asks", "seed = 0"),
        "TL115",
        ERROR,
    ),
    "conversations mixed with classes that nothing asks for": (
        "\nmix both { talks = 50%, kinds = 50% }\n"
        + stage("multi_task", "model = small", "data = both", 'template = "chatml"'),
        "TL302",
        ERROR,
    ),
    "packed pairs": (
        CHAT + stage("dpo", "model = chat", "data = pairs", "packing = true"),
        "TL102",
        ERROR,
    ),
    "another number format than the start's": (
        CHAT + stage("dpo", "model = chat", "data = pairs", "precision = fp32"),
        "TL526",
        WARNING,
    ),
    "a reference that the stage did not start from": (
        CHAT + stage("dpo", "model = chat", "reference = small", "data = pairs"),
        "TL504",
        WARNING,
    ),
}


def found(chain: str, folder: Path) -> list[Diagnostic]:
    path = folder / "recipe.tune"
    path.write_text(GROUND + MORE + chain)
    return findings.of_every_profile(path).found


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_is_found(pair: str, tmp_path: Path) -> None:
    """Its code, its severity, and of a type error both places."""
    chain, code, severity = PAIRS[pair]
    said = [each for each in found(chain, tmp_path) if each.code == code]
    assert said, [each.message for each in found(chain, tmp_path)]
    assert said[0].severity is severity
    assert said[0].at is not None
    if code in ("TL115", "TL409", "TL412", "TL304", "TL526"):
        assert said[0].others, "both places are shown"


SOUND = {
    "the whole stack": CHAT + JUDGE + stage("ppo", *FROM_CHAT, "reward = judge"),
    "sft, then ranking": CHAT + stage("comparative_ranking", "model = chat", "data = pairs"),
    "an adapter, then every weight": CHAT.replace("talks", "talks\n  weights = lora", 1)
    + stage("dpo", "model = chat", "data = pairs"),
    "experts": stage("esft", "model = mixture", "data = talks", 'template = "chatml"'),
}


@pytest.mark.parametrize("pair", SOUND)
def test_a_sound_pair_passes(pair: str, tmp_path: Path) -> None:
    """No error is found in chains that make sense."""
    said = [each for each in found(SOUND[pair], tmp_path) if each.severity is ERROR]
    assert not said, [each.message for each in said]
