"""`weights = layers(...)` and `weights = head`: some of a model's own weights train, whole.

The product is a full model: frozen weights are in it as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunelang.plan.ir import Weights
from tunelang.train import groups, trainable
from tunelang.train.job import fail
from tunelang.train.model import Loaded
from tunelang.train.trainable import Trained


def make(loaded: Loaded, weights: Weights) -> Trained:
    """Everything frozen but the chosen layers, or but the head of the language model."""
    trained = trainable.everything(loaded)
    model = trained.model
    if weights.kind == "head":
        chosen = {"head"}
    else:
        numbers = wanted(weights.fields, len(groups.layers(model)))
        chosen = {groups.named(number + 1, 0) for number in numbers}
    found = [group for group in groups.of(model) if group.name in chosen]
    model.requires_grad_(False)
    for group in found:
        for value in group.values.values():
            value.requires_grad_(True)
    return trained


def wanted(fields: Mapping[str, Any], count: int) -> range:
    """The numbers of the layers that train, of `count`; TL540 where one does not exist."""
    last = fields.get("last")
    first = count - last if last else fields.get("from") or 0
    final = count - 1 if last or fields.get("to") is None else fields["to"]
    if not 0 <= first <= final < count:
        said = f"the last {last}" if last else f"{first} to {final}"
        message = f"layers({said}) of a model that has {count}"
        fail("TL540", "no-such-layer", message, f"they are 0 to {count - 1}")
    return range(first, final + 1)
