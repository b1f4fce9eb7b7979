"""Where two steps differ in what changes a result, in words near the recipe's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tunelang.plan.ir import Step
from tunelang.plan.keys import essence

HASH = re.compile(r"[0-9a-f]{32,64}")
SHOWN = 12  # digits of a hash that people compare
# Parts of a key that no field of the recipe is named after.
WORDS = {
    "inputs": "input",
    "stack": "library",
    "fields": "",
    "import": "",
    "schedule.steps": "optimizer steps",
    "schedule.warmup": "warmup steps",
}


@dataclass(frozen=True)
class Change:
    """A value of the one step and of the other."""

    name: str
    old: str
    new: str


def differences(old: Step, new: Step) -> list[Change]:
    """Every value that differs; none means the same result."""
    before, after = _flat(essence(old)), _flat(essence(new))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [
        Change(_name(name, new), _shown(before.get(name)), _shown(after.get(name)))
        for name in names
    ]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Leaves by dotted path."""
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list) and value:
        items = dict(enumerate(value)).items()
    else:
        return {name: value}
    return {
        path: leaf
        for key, each in items
        for path, leaf in _flat(each, f"{name}.{key}" if name else str(key)).items()
    }


def _name(path: str, step: Step) -> str:
    if path in WORDS:
        return WORDS[path]
    head, _, rest = path.partition(".")
    if head == "data" and rest.startswith("parts.") and step.data:
        _, number, inner = rest.split(".", 2)
        parts = step.data.parts
        part = parts[int(number)].name if int(number) < len(parts) else number
        return f"rows of {part}" if inner == "fingerprint" else f"{part}.{inner}"
    return f"{WORDS[head]} {rest}".strip() if head in WORDS else path


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str) and HASH.fullmatch(value):
        return value[:SHOWN]
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
