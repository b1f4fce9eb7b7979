"""What expert-specialised tuning leaves: the chosen experts alone, tied to the base they are of.

`experts/experts.safetensors` holds `layers.L.gate_up_proj` [S, 2F, H] and `layers.L.down_proj`
[S, H, F] of the S chosen experts of layer L, and shared experts and routers whole where they
trained. `experts/experts.json` is a DeepSeek expert config with the mark of the base.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunelang.estimate import experts as scored
from tunelang.run.store import write_json
from tunelang.train.checkpoint import write_tensors
from tunelang.train.expert_modules import around, routed
from tunelang.train.job import fail

FOLDER = "experts"
MATRICES = ("gate_up_proj", "down_proj")


@dataclass(frozen=True)
class ExpertDelta:
    """The trained part of a model: `selection` by layer, `whole` what else trained, `base` the
    mark of what they started as."""

    model: Any
    selection: Mapping[int, list[int]]
    whole: Mapping[str, nn.Parameter]
    base: str
    folder: str = FOLDER

    def save(self, folder: Path) -> None:
        """Write `experts.safetensors` and `experts.json` into a fresh folder."""
        folder.mkdir(parents=True)
        layers = routed(self.model)
        tensors: dict[str, Tensor] = {
            f"layers.{layer}.{name}": getattr(layers[layer].module, f"chosen_{name}")
            for layer in self.selection
            for name in MATRICES
        }
        write_tensors(folder / "experts.safetensors", {**tensors, **self.whole})
        named = {str(layer): experts for layer, experts in self.selection.items()}
        said = scored.config(named, shared=any("shared" in name for name in self.whole))
        write_json(folder / "experts.json", {**said, "base": self.base})


def bring(model: nn.Module, folder: Path) -> None:
    """Put a delta in place of the experts it trained, to the bit; `model` is in fp32.

    TL411 where the model is not the one that it was trained from.
    """
    said = json.loads((folder / "experts.json").read_text("utf-8"))
    selection = {int(layer): experts for layer, experts in said["experts"].items()}
    if fits(model, selection) != said["base"]:
        fail(
            "TL411",
            "adapter-of-other-base",
            f"`{folder}` holds experts of another model: their base is not the one they lie over",
            "load it over the model that its stage started from",
        )
    tensors = load_file(folder / "experts.safetensors")
    layers, named = routed(model), dict(model.named_parameters())
    with torch.no_grad():
        for layer, experts in selection.items():
            for name in MATRICES:
                fused = getattr(layers[layer].module, name)
                fused[torch.tensor(experts)] = tensors.pop(f"layers.{layer}.{name}").to(fused.dtype)
        for name, value in tensors.items():
            named[name].copy_(value)


def fits(model: nn.Module, selection: Mapping[int, list[int]]) -> str:
    """The mark of a model that has these experts; the empty string of one that has not."""
    layers = routed(model)
    has = all(
        layer in layers and max(experts) < layers[layer].count
        for layer, experts in selection.items()
    )
    return fingerprint(model, selection) if has else ""


def fingerprint(model: nn.Module, selection: Mapping[int, list[int]]) -> str:
    """SHA-256 over the routers, the shared experts and the chosen experts, rounded to bf16.

    Rounded, because a stage may hold in bf16 what a later one loads in fp32.
    """
    found = hashlib.sha256()
    layers = routed(model)
    for layer, experts in sorted(selection.items()):
        found.update(f"{layer}: {experts};".encode())
        for value in around(model, layers[layer]).values():
            found.update(raw(value))
        for name in MATRICES:
            fused = getattr(layers[layer].module, name)
            for expert in experts:
                found.update(raw(fused[expert]))
    return found.hexdigest()


def raw(value: Tensor) -> bytes:
    """The bytes of a tensor in bf16."""
    return value.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
