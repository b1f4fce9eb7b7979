"""The groups of a model's weights from the bottom up: embeddings, each layer, the head.

Transfer gives each group a rate of its own (discriminative fine-tuning) and a time from which it
trains (gradual unfreezing): ULMFiT (Howard and Ruder 2018, arXiv 1801.06146, sections 3.2, 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn import Parameter

from tunelang.train import forward

HEAD = "head."  # before the names of a classifier's own head


@dataclass(frozen=True)
class Group:
    """Weights that are frozen and paced together; `below` counts the groups above them."""

    name: str
    below: int
    values: dict[str, Parameter]


def of(model: Any, head: nn.Module | None = None) -> list[Group]:
    """The groups that hold something to train, lowest first; `head` reads classes.

    What is neither looked up nor in a layer (the last norm, an output layer) is of the head. A
    tied output layer is the embedding matrix: of the head where the model speaks, of the
    embeddings where it tells classes. What an output layer of its own would read is not asked
    for by a head of classes, so it is of no group.
    """
    places = placed(model, head)
    top = len(layers(model)) + 1
    found: dict[int, dict[str, Parameter]] = {place: {} for place in range(top + 1)}
    for name, value in model.named_parameters():
        if value.requires_grad and id(value) in places:
            found[places[id(value)]][name] = value
    for name, value in head.named_parameters() if head else ():
        found[top][HEAD + name] = value
    return [
        Group(named(place, top), top - place, values) for place, values in found.items() if values
    ]


def placed(model: Any, head: nn.Module | None) -> dict[int, int]:
    """The place of every weight that is used, by its id: 0, one a layer, one more for the head."""
    body = forward.causal(model)
    blocks, output = layers(model), set(map(id, body.get_output_embeddings().parameters()))
    looked_up = {
        id(value)
        for module in body.get_decoder().modules()
        if isinstance(module, nn.Embedding)
        for value in module.parameters()
    }
    found = {id(value): len(blocks) + 1 for value in model.parameters()}
    found |= dict.fromkeys(looked_up, 0)
    if head is None:
        found |= dict.fromkeys(output, len(blocks) + 1)
    for number, block in enumerate(blocks):
        found |= {id(value): number + 1 for value in block.parameters()}
    unused = output - looked_up if head is not None else set()
    return {key: place for key, place in found.items() if key not in unused}


def layers(model: Any) -> Sequence[nn.Module]:
    """The blocks of the decoder, lowest first."""
    body = forward.causal(model)
    count = body.config.num_hidden_layers
    for child in body.get_decoder().children():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return list(child)
    msg = f"{type(body).__name__} has no list of {count} layers"
    raise ValueError(msg)


def named(place: int, top: int) -> str:
    """What people call a group; layers count from 0, as in the files of a model."""
    if place == top:
        return "head"
    return f"layer {place - 1}" if place else "embeddings"


def scales(groups: Sequence[Group], factor: float) -> dict[str, float]:
    """Each weight's share of the rate by name: eta of group l-1 is eta of group l / factor."""
    return {name: factor**-group.below for group in groups for name in group.values}
