"""The routed experts of a model, whatever its family: fused modules by layer.

transformers 5 keeps the experts of a layer as two 3-D parameters, `gate_up_proj` [E, 2F, H] and
`down_proj` [E, H, F], of a module that is called as experts(hidden [N, H], top_k_index [N, K],
top_k_weights [N, K]) in Mixtral, Qwen 2 and 3 MoE, OLMoE and DeepSeek V2 and V3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from tunelang.train.job import Job, fail

LAYER = re.compile(r"\blayers\.(\d+)\.")
SINGLE = "eager"  # transformers' name for one expert after another


@dataclass(frozen=True)
class Routed:
    """The fused experts of one layer and their path in the model."""

    path: str
    module: Any

    @property
    def count(self) -> int:
        return int(self.module.gate_up_proj.shape[0])


def routed(model: nn.Module) -> dict[int, Routed]:
    """The fused experts by number of their layer. TL514 where there are none.

    TL743 where they are laid out in another way (biases, transposed matrices).
    """
    found: dict[int, Routed] = {}
    for path, module in model.named_modules():
        weight, layer = getattr(module, "gate_up_proj", None), LAYER.search(path)
        if layer and isinstance(weight, nn.Parameter) and weight.dim() == 3:
            _plain(path, module)
            found[int(layer[1])] = Routed(path, module)
    if not found:
        fail(
            "TL514",
            "no-experts",
            "the model has no routed experts that could be chosen from",
            "use `lora` for a model that is no mixture of experts",
        )
    return found


def _plain(path: str, module: Any) -> None:
    odd = ("is_transposed", "has_bias", "has_post_expert_norm")
    if any(getattr(module, name, False) for name in odd) or not getattr(module, "has_gate", True):
        family = type(module).__name__
        fail(
            "TL743",
            "unknown-experts",
            f"the experts of {family} (`{path}`) are laid out in a way that is not known here",
            "known are Mixtral, Qwen 2 and 3 MoE, OLMoE and DeepSeek V2 and V3",
        )


def around(model: nn.Module, experts: Routed) -> dict[str, nn.Parameter]:
    """The parameters of the same feed-forward that are no routed expert, by their full name."""
    block = experts.path.rpartition(".")[0]
    return {
        name: value
        for name, value in model.get_submodule(block).named_parameters(prefix=block)
        if not name.startswith(f"{experts.path}.")
    }


def one_after_another(model: Any, job: Job) -> None:
    """Compute experts in turn: grouped kernels do not even give the same bits twice (4e-7)."""
    if job.device != "cpu" or not _has_experts(model):
        return
    model.set_experts_implementation(SINGLE)
    job.note("experts are computed one after another, so that every run gives the same bits")


def _has_experts(model: nn.Module) -> bool:
    return any(getattr(getattr(m, "gate_up_proj", None), "ndim", 0) == 3 for m in model.modules())
