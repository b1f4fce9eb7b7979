"""Recipes for every pair of a method and a kind of `weights`, from what the method says of itself.

A method of a plug-in would be among them: nothing here names one, but for what a field without a
default has to hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunelang.recipe import kinds
from tunelang.recipe.schema import Method, Variant
from tunelang.sources.places.formats import FORMATS

WORDS = ("cat", "dog", "sun", "mat", "red", "park", "ran", "sat")
# What weights need that cannot be left out, and methods whose fields depend on a mode.
ARGUMENTS = {"lora": "rank = 4", "qlora": "rank = 4", "layers": "last = 1"}
MODES = {"few_shot": ("tuned", "contrastive")}
HEAD = """tune 1
model dense = scratch(tokenizer = ["text.txt"], hidden = 32, layers = 2, positions = 256)
model mixture = scratch(
  qwen3_moe,
  tokenizer = ["text.txt"],
  hidden = 32,
  layers = 2,
  positions = 256,
)
"""
SHORT = """defaults stage {
  precision = fp32
  seed = 1
  length = 64 tokens
}
"""
JUDGE = """data pairs = files("preference.jsonl", format = preference, hold_out = 2 rows)
stage judge: reward_modeling {
  model = dense
  data = pairs
  weights = lora(rank = 4)
  train = 1 step
  batch = 2 pairs
}
"""


def pairs() -> Iterator[tuple[str, str, str]]:
    """(method, mode, kind of weights) of every admissible pair; most methods have one mode."""
    for name, method in kinds.methods().items():
        for mode in MODES.get(name, ("",)):
            for kind in admitted(method.modes.get(mode, method)):
                yield name, mode, kind


def inadmissible() -> Iterator[tuple[str, str]]:
    """(method, kind of weights) that no recipe may ask for."""
    for name, method in kinds.methods().items():
        if method.trains:
            yield from ((name, kind) for kind in kinds.weights() if kind not in admitted(method))


def admitted(method: Method) -> tuple[str, ...]:
    """The kinds of weights that a method can train."""
    field = method.fields.get("weights")
    shapes = field.type.shapes if field and isinstance(field.type, Variant) else {}
    return tuple(shapes) if method.trains else ()


def recipe(name: str, mode: str, kind: str) -> str:
    """Two steps of a method on a model of two layers."""
    whole = kinds.methods()[name]
    method = whole.modes.get(mode, whole)
    model = "mixture" if kind == "experts" else "dense"
    lines = [f"{field} = {value}" for field, value in required(method, mode, model).items()]
    lines += [f"weights = {kind}({ARGUMENTS[kind]})" if kind in ARGUMENTS else f"weights = {kind}"]
    lines += duration(method)
    judge = JUDGE if needs_judge(method) else ""
    form = method.formats[0]
    data = f'data rows = files("{form}.jsonl", format = {form}, hold_out = 2 rows)\n'
    body = "\n".join(f"  {line}" for line in lines)
    return f"{HEAD}{data}{SHORT}{judge}stage it: {name} {{\n{body}\n}}\n"


def required(method: Method, mode: str, model: str) -> Mapping[str, str]:
    """A value for every field that has no default."""
    found = {method.inputs[0]: model, method.data_field: "rows"}
    if needs_judge(method):
        found["reward"] = "judge"
    if mode:
        found["mode"] = mode
    return found


def needs_judge(method: Method) -> bool:
    field = method.fields.get("reward")
    return field is not None and field.default is None and not field.optional


def duration(method: Method) -> list[str]:
    """Two updates of a few rows."""
    if "rollout" not in method.fields:
        return ["train = 2 steps", f"batch = 4 {method.noun}", "lr = 1e-3"]
    group = ", group = 2" if method.name in ("grpo", "rloo") else ""
    return ["train = 2 steps", "lr = 1e-3", f"rollout {{ batch = 4, reply = 4 tokens{group} }}"]


def write_rows(folder: Path) -> None:
    """Ten rows of every format, and the text a tokenizer is made from."""
    (folder / "text.txt").write_text(f"say the {' and the '.join(WORDS)}.\n" * 40)
    for form in (*FORMATS, "choices"):
        made = [json.dumps(row(form, number)) for number in range(10)]
        (folder / f"{form}.jsonl").write_text("\n".join(made) + "\n")


def row(form: str, number: int) -> dict[str, Any]:
    a, b, c = (WORDS[(number + step) % len(WORDS)] for step in (0, 3, 5))
    asked, parity = f"say {a} {number}", "odd" if number % 2 else "even"
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": b}]
    shapes: dict[str, dict[str, Any]] = {
        "text": {"text": f"the {a} and the {b} {number}"},
        "instruct": {"prompt": asked, "reply": f"{a} {b}"},
        "prompt": {"prompt": asked},
        "preference": {"prompt": asked, "chosen": f"{a} {b}", "rejected": c},
        "ranking": {"prompt": asked, "replies": [a, b, c], "ranks": [1, 2, 3]},
        "feedback": {"prompt": asked, "reply": f"{a} {b}", "good": parity == "odd"},
        "labelled": {"text": f"the {a} {number}", "label": parity},
        "chat": {"messages": turns},
        "choices": {"prompt": asked, "choices": [a, b], "answer": number % 2},
    }
    return shapes[form]
