"""Which layers of a model an adapter can sit on: linear ones, and experts of a mixture; no router.

An adapter on a router would change which experts are asked, and nothing keeps their load even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tunelang.train import forward, quantise

ROUTERS = {"gate", "router"}  # of mixtures of experts, as transformers names them


@dataclass(frozen=True)
class Chosen:
    """PEFT's words: layers by the ends of their names, and parameters of a layer's experts."""

    layers: str | list[str]
    experts: list[str] | None
    routers: list[str] | None


def chosen(model: Any, wanted: str | Sequence[str]) -> Chosen:
    """What `targets` of a recipe stands for on this model.

    PEFT's own list of all linear layers leaves out the experts of some mixtures, so the layers of
    a mixture are named one by one.
    """
    if wanted != "all_linear":
        return Chosen(list(wanted), None, None)
    names = {path.rpartition(".")[2] for path, _ in model.named_modules()}
    routers, held = sorted(ROUTERS & names), experts(model)
    return Chosen(linear(model) if held else "all-linear", held or None, routers or None)


def linear(model: Any) -> list[str]:
    """The last parts of the names of linear layers, but for the output layer and routers."""
    return sorted({path.rpartition(".")[2] for path in _linear(model)} - ROUTERS)


def experts(model: nn.Module) -> list[str]:
    """`experts.gate_up_proj` and the like: all experts of a layer in one parameter [E, out, in]."""
    names = [path for path, value in model.named_parameters() if value.dim() == quantise.EXPERTS]
    return sorted({_end(path) for path in names if ".lora_" not in path})


def unreached(model: Any) -> list[str]:
    """Linear layers without an adapter, by the ends of their names.

    PEFT 0.21 renames the targets of mixtures whose layout has changed, and loses DeepSeek's dense
    and shared layers on the way.
    """
    held = {path.rpartition(".lora_A")[0] for path, _ in model.named_parameters()}
    bare = [path for path in _linear(model) if path.removesuffix(".base_layer") not in held]
    return sorted({_end(path) for path in bare if path.rpartition(".")[2] not in ROUTERS})


def _linear(model: Any) -> list[str]:
    output = forward.causal(model).get_output_embeddings()
    return [
        path
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer is not output and ".lora_" not in path
    ]


def _end(path: str) -> str:
    return ".".join(path.removesuffix(".base_layer").split(".")[-2:])
