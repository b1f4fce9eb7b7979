"""`weights = experts`: the chosen routed experts train, all else is frozen to the bit.

Each layer's chosen experts are parameters of their own, in fp32 beside frozen weights in any
precision, so that optimizer states exist for nothing else and weight decay reaches nothing else:
decay of the fused tensor with masked gradients would move the frozen experts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from tunelang.estimate.experts import Selection
from tunelang.plan.ir import Weights
from tunelang.train.expert_delta import ExpertDelta, fingerprint
from tunelang.train.expert_modules import Routed, around, routed
from tunelang.train.job import fail
from tunelang.train.model import Loaded
from tunelang.train.trainable import Trained

OURS = "tunelang_chosen"  # our name among transformers' ways to compute experts


def make(loaded: Loaded, weights: Weights) -> Trained:
    """The model with only `weights.fields["selection"]` (layer -> experts) to train."""
    model = loaded.model
    if loaded.origin.quant:
        fail(
            "TL412",
            "quantised-full-tuning",
            "the model is held in few bits, in which no expert can be trained",
            "start from whole weights",
        )
    layers = routed(model)
    selection = fitting(weights.fields["selection"], layers)
    model.requires_grad_(False)
    mark = fingerprint(model, selection)
    for layer, experts in selection.items():
        part_off(layers[layer].module, experts)
    whole = beside(model, layers, weights.fields)
    model.set_experts_implementation(OURS)
    delta = ExpertDelta(model, selection, whole, mark)
    return Trained(model, None, (), delta)


def fitting(selection: Selection, layers: Mapping[int, Routed]) -> dict[int, list[int]]:
    """The selection by layer number; TL744 where it names a layer or expert that is not there."""
    found = {int(layer): sorted(experts) for layer, experts in selection.items() if experts}
    for layer, experts in found.items():
        if layer not in layers:
            has = f"layers {min(layers)} to {max(layers)} have them"
            fail("TL744", "no-such-expert", f"layer {layer} of the model has no experts", has)
        if experts[-1] >= layers[layer].count:
            has = f"it has {layers[layer].count}, counted from 0"
            fail("TL744", "no-such-expert", f"layer {layer} has no expert {experts[-1]}", has)
    return found


def part_off(module: Any, experts: list[int]) -> None:
    """Give the chosen experts of a layer parameters of their own."""
    place = torch.tensor(experts, device=module.gate_up_proj.device)
    module.chosen = {expert: slot for slot, expert in enumerate(experts)}
    for name in ("gate_up_proj", "down_proj"):
        own = getattr(module, name).detach()[place].float()
        setattr(module, f"chosen_{name}", nn.Parameter(own))


def beside(
    model: nn.Module, layers: Mapping[int, Routed], fields: Mapping[str, Any]
) -> dict[str, nn.Parameter]:
    """Shared experts and routers, where the recipe lets them train: their names and weights."""
    wanted = [word for word in ("shared", "router") if fields.get(word)]
    found = {
        name: value
        for each in layers.values()
        for name, value in around(model, each).items()
        if kind_of(name.removeprefix(each.path.rpartition(".")[0])) in wanted
    }
    for value in found.values():
        value.data = value.data.float()
        value.requires_grad_(True)
    return found


def kind_of(name: str) -> str:
    """`router` for the layer that sends tokens to experts, else `shared`."""
    return "router" if name.startswith((".gate.", ".router.")) else "shared"


def forward(self: Any, hidden: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Experts one after another, as transformers' own eager loop, to the bit.

    hidden [N, H], top_k_index and top_k_weights [N, K] -> [N, H]. A chosen expert reads its own
    parameters, any other the frozen tensor, which gets no gradient.
    """
    final = torch.zeros_like(hidden)
    with torch.no_grad():
        mask = nn.functional.one_hot(top_k_index, num_classes=self.num_experts + 1)
        mask = mask.permute(2, 1, 0)  # [E + 1, K, N]
        asked = torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero().flatten().tolist()
    for expert in asked:
        if expert == self.num_experts:
            continue  # tokens that no expert of this device sees
        position, token = torch.where(mask[expert])
        inward, outward = matrices(self, expert)
        inner = self._apply_gate(nn.functional.linear(hidden[token], inward))
        out = nn.functional.linear(inner, outward) * top_k_weights[token, position, None]
        final.index_add_(0, token, out.to(final.dtype))
    return final


def matrices(module: Any, expert: int) -> tuple[Tensor, Tensor]:
    """[2F, H] and [H, F] of one expert: its own where it was chosen."""
    slot = getattr(module, "chosen", {}).get(expert)
    if slot is None:
        return module.gate_up_proj[expert], module.down_proj[expert]
    return module.chosen_gate_up_proj[slot], module.chosen_down_proj[slot]


ALL_EXPERTS_FUNCTIONS.register(OURS, forward)
