"""What a stage left beside its base -> the same change in the weights of a loaded model.

One function per kind of delta, found by the folder that an object keeps it in. `model` is in fp32.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from tunelang.train.job import fail

PREFIX = "base_model.model."  # of every key in a PEFT adapter file


def apply(model: nn.Module, product: Path) -> None:
    """Bring the deltas of an object into the model's weights."""
    found = [name for name in FOLDERS if (product / name).is_dir()]
    if not found:
        msg = f"{product} holds no delta"
        raise ValueError(msg)
    for name in found:
        FOLDERS[name](model, product / name)


def lora(model: nn.Module, adapter: Path) -> None:
    """W <- W + (alpha / r) B A for every layer of a LoRA adapter; `model` is in fp32."""
    settings = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    scale = settings["lora_alpha"] / settings["r"]
    tensors = load_file(adapter / "adapter_model.safetensors")
    modules = dict(model.named_modules())
    for key, a in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        name = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        b = tensors[key.replace(".lora_A.", ".lora_B.")]
        layer = modules.get(name)
        if not isinstance(layer, nn.Linear) or layer.weight.shape != (b.shape[0], a.shape[1]):
            fail("TL411", "adapter-of-other-base", f"`{adapter}` does not fit: no layer {name}")
        with torch.no_grad():
            layer.weight += scale * (b.float() @ a.float())  # [out, r] @ [r, in]


FOLDERS: dict[str, Callable[[nn.Module, Path], None]] = {"adapter": lora}
