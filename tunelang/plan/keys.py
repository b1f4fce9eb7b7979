"""Content keys: what changes a step's result is hashed, nothing else is."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tunelang.plan.ir import DataPart, ModelRef, Step, StoreModel

# Outside the key: names and comments, the machine, how often it measures and saves.
_SCHEDULE = ("steps", "warmup", "kind", "floor")
_LIBRARIES = ("torch", "transformers", "peft")


def stack() -> dict[str, str]:
    """Versions of the libraries that compute; empty for those that are not installed."""
    found = {}
    for name in (*_LIBRARIES, "bitsandbytes"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def key_of(step: Step) -> str:
    """The content address: 32 hex digits of sha256 over canonical JSON."""
    text = json.dumps(essence(step), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def essence(step: Step) -> dict[str, Any]:
    """Everything that changes the result, as plain JSON."""
    dumped = step.model_dump(mode="json")
    schedule = dumped["schedule"]
    return {
        "method": [step.method, step.method_version],
        "product": step.product,
        "seed": step.seed,
        "precision": step.precision,
        "inputs": {role: _model(ref) for role, ref in step.inputs.items()},
        "import": _without_paths(dumped["import_from"]),
        "data": _data(step),
        "weights": dumped["weights"],
        "length": step.length,
        "lr": step.lr,
        "schedule": schedule and {name: schedule[name] for name in _SCHEDULE},
        "batch": step.batch.size if step.batch else None,
        "fields": dumped["fields"],
        **({"general": _part(step.general)} if step.general else {}),
        **({"pretraining": _part(step.pretraining)} if step.pretraining else {}),
        "measures": sorted(gate.measure.text for gate in step.gates if gate.measure.data),
        "stack": {name: step.stack.get(name, "") for name in _LIBRARIES},
    }


def _model(ref: ModelRef) -> Any:
    return ref.key if isinstance(ref, StoreModel) else _without_paths(ref.model_dump(mode="json"))


def _without_paths(dumped: dict[str, Any] | None) -> dict[str, Any] | None:
    if dumped is None:
        return None
    outside = ("path", "tokenizer_text")
    return {
        name: value for name, value in dumped.items() if name not in outside and value is not None
    }


def _data(step: Step) -> Any:
    if step.data is None:
        return None
    mixture = step.data.model_dump(mode="json", exclude={"parts", "by", "held_out"})
    more: dict[str, Any] = {"by": "tokens"} if step.data.by == "tokens" else {}
    if step.data.held_out:  # what is measured is part of the product
        more["held_out"] = [_part(part) for part in step.data.held_out]
    return {**mixture, **more, "parts": [_part(part) for part in step.data.parts]}


def _part(part: DataPart) -> dict[str, Any]:
    return {
        "fingerprint": part.fingerprint,
        "format": [part.format.kind, part.format.columns],
        "limit": part.limit,
        "hold_out": part.hold_out and part.hold_out.model_dump(),
        "weight": part.weight,
        **({"wording": part.wording.model_dump()} if part.wording else {}),
    }
