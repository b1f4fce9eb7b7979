"""What a step has to do, read off its recipe: all that estimates need to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelang.estimate import experts
from tunelang.estimate.load import INT8, NF4, SINGLE
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.roles import Judge, Reference
from tunelang.estimate.work import Work
from tunelang.methods.preference import LOG_PROBS
from tunelang.plan.ir import Step
from tunelang.plan.passes.context import Context
from tunelang.plan.reference import uses_reference
from tunelang.plan.schedule import CHARACTERS_PER_TOKEN, Extent
from tunelang.recipe import graph, kinds
from tunelang.recipe.model import Declared
from tunelang.rules.stages import reference
from tunelang.units import Quantity

MARKS = 16  # tokens that a chat template writes around a question and its reply (ChatML)
RECOMPUTE = {"always": True, "never": False}  # `auto` is planned
ADAPTERS = ("lora", "qlora")


def architecture_of(step: Step, context: Context) -> Architecture | None:
    """The architecture that a step trains, None where it is not known."""
    root = graph.root_of(context.recipe, step.name)
    base = context.bases.get(root) if root else None
    return base.architecture if base else None


def shared_as(step: Step) -> str:
    """The method as `estimate/able.py` knows it: DoReMi's search of shares is another worker's."""
    shares = step.fields.get("shares")
    found = shares.get("kind") if isinstance(shares, dict) else None
    return f"{step.method} {found}" if found == "doremi" else step.method


def work_of(step: Step, declared: Declared, context: Context) -> Work | None:
    """What a step has to do, None where its architecture is not known, or has no such weights."""
    architecture = architecture_of(step, context)
    assert step.schedule and step.batch and step.weights and step.length and declared.method
    fields = step.weights.fields
    kind = kinds.weights()[step.weights.kind]
    if architecture is None or (kind.like == "experts" and architecture.experts is None):
        return None
    targets = fields.get("targets", "all_linear")
    typical = usual(step, context.extents.get(step.name), declared.method.sequences)
    return Work(
        architecture=architecture,
        method=shared_as(step),
        weights=kind.like,
        kind=kind.name,
        rank=fields.get("rank", 1 if kind.adapter else 0),
        targets=tuple(targets) if isinstance(targets, list) else "all_linear",
        dora=bool(fields.get("dora")),
        batch=step.batch.size,
        length=step.length,
        mean_length=typical,
        precision=step.precision,
        optimizer=str(step.fields.get("optimizer", "adamw")),
        steps=step.schedule.steps,
        rows=declared.method.sequences,
        masters=fields.get("masters") != "none",
        held=_held(fields),
        last=_last(fields, architecture),
        share=experts.share(fields) if kind.like == "experts" else 0.0,
        **_policy(step, declared, typical),
        **_others(step, declared, context),
        **_fixed(declared),
    )


def _last(fields: Mapping[str, Any], architecture: Architecture) -> int:
    """How many layers train where `weights = layers(...)` names some; 0 for other kinds."""
    if fields.get("last"):
        return int(fields["last"])
    if fields.get("from") is None and fields.get("to") is None:
        return 0
    to = fields.get("to")
    return int(architecture.layers - 1 if to is None else to) - int(fields.get("from") or 0) + 1


def _fixed(declared: Declared) -> dict[str, Any]:
    """What the recipe says of how it runs, None where the plan may choose."""
    micro: Quantity | None = declared.get("micro")
    words = {name: declared.get(f"parallel.{name}") for name in ("sharding", "offload")}
    return {
        "micro": int(micro.amount) if micro else None,
        "recompute": RECOMPUTE.get(str(declared.get("checkpointing"))),
        **{name: None if word in (None, "auto") else str(word) for name, word in words.items()},
    }


def _policy(step: Step, declared: Declared, typical: int) -> dict[str, Any]:
    """The rollouts of ppo, grpo and rloo; nothing for other methods."""
    reply: Quantity | None = declared.get("rollout.reply")
    if reply is None:
        return {}
    return {
        "prompt": typical,
        "reply": int(reply.amount),
        "epochs": declared.get("rollout.epochs") or 1,
        "minibatches": declared.get("rollout.minibatches") or 1,
        "group": declared.get("rollout.group") or 1,
        "frozen": 1 + ("reward" in step.inputs),
        "critic": "value" in step.fields,
        "texts": _texts(step, declared),
    }


def _texts(step: Step, declared: Declared) -> int:
    """Tokens of the texts that all updates of an iteration read, each as long as a row may be."""
    if step.pretraining is None:
        return 0
    updates = declared.get("rollout.epochs") * declared.get("rollout.minibatches")
    longest = (step.length or 0) + int(declared.get("rollout.reply").amount)
    return int(declared.get("pretraining.batch").amount) * longest * int(updates)


def _others(step: Step, declared: Declared, context: Context) -> dict[str, Any]:
    """The reference and the reward model, as the worker holds them (train/roles.py)."""
    return {
        "reference": _reference(step, declared),
        "judge": _judge(step, declared, context) if "reward" in declared.values else "none",
    }


def _reference(step: Step, declared: Declared) -> Reference:
    """Read beforehand, the adapter switched off, or a model of its own."""
    policy = declared.get("rollout.reply") is not None
    if LOG_PROBS in step.inputs:
        return "computed"
    if "reference" not in step.inputs or not (policy or uses_reference(declared)):
        return "none"
    assert step.weights and declared.method
    start = step.inputs[declared.method.inputs[0]]
    beside = step.weights.kind in ADAPTERS and step.inputs["reference"] == start
    return "adapter_off" if beside else "own"


def _judge(step: Step, declared: Declared, context: Context) -> Judge:
    """An adapter on the policy's base where it is one on exactly the policy's start."""
    ref = reference(declared, "reward")
    judge = context.recipe.declared.get(ref.name) if ref else None
    if judge is None:
        return "function" if declared.get("reward") is not None else "none"
    assert step.weights
    weights = judge.get("weights") if judge.kind == "stage" else None
    alike = weights is not None and weights.name == step.weights.kind and weights.name in ADAPTERS
    shared = alike and graph.start_of(judge) == graph.start_of(declared)
    return "adapter" if shared else "own"


def usual(step: Step, extent: Extent | None, each: int) -> int:
    """Tokens of a usual row: packed ones are full, others as long as their text and marks."""
    assert step.length
    if step.fields.get("packing") or extent is None or not (extent.rows and extent.characters):
        return step.length
    tokens = extent.characters / (extent.rows * each) / CHARACTERS_PER_TOKEN
    return min(step.length, round(tokens) + MARKS)


def _held(fields: Mapping[str, Any]) -> float:
    """Bytes of a weight that `qlora(...)` holds."""
    if fields.get("bits") == 8:
        return INT8
    return NF4 if fields.get("double_quant", True) else SINGLE
