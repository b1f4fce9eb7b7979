"""(IA)^3 as the paper has it: k * l_k, v * l_v and (l_ff * h) W_down, all l at 1 to begin with.

Liu et al. 2022, arXiv 2205.05638, section 3.3. PEFT computes it; its own table scales queries in
place of keys for several families, so layers are chosen here by what they are.
"""

from __future__ import annotations

from typing import NoReturn

from peft import IA3Config, get_peft_model
from torch import nn

from tunelang.plan.ir import Weights
from tunelang.train import targets, trainable
from tunelang.train.job import fail
from tunelang.train.model import Loaded
from tunelang.train.trainable import Trained

NAME = "default"
# What transformers calls the layers that make keys, values and the feed-forward output.
KEYS_VALUES = (("k_proj", "v_proj"), ("key", "value"))
FEEDFORWARD = ("down_proj", "fc2", "dense_4h_to_h", "w2", "fc_out")


def make(loaded: Loaded, weights: Weights) -> Trained:
    """The model with fresh scaling vectors in fp32, nothing else trained."""
    if loaded.origin.quant:
        fail(
            "TL412",
            "quantised-full-tuning",
            "the model is held in few bits, and the vectors of ia3 are later merged into it",
            "use weights = qlora",
        )
    model = get_peft_model(loaded.model, settings(loaded.model, weights), adapter_name=NAME)
    for parameter in trainable.adapter_parameters(model, NAME):
        parameter.data = parameter.data.float()
    trained = Trained(model, NAME, loaded.attached)
    trainable.train_only(model, [NAME])
    trainable.with_adapters(model, trained.active)
    return trained


def settings(model: nn.Module, weights: Weights) -> IA3Config:
    """PEFT's settings for our fields."""
    scaled, scaled_before = weights.fields["targets"], weights.fields.get("feedforward")
    if scaled == "paper":
        scaled, scaled_before = paper(model)
    named = {name.rpartition(".")[2] for name in (*scaled, *(scaled_before or []))}
    absent = sorted(named - set(targets.linear(model)))
    if absent:
        missing(model, " and ".join(absent))
    return IA3Config(
        target_modules=list(scaled),
        feedforward_modules=list(scaled_before or []),
        task_type="CAUSAL_LM",
    )


def paper(model: nn.Module) -> tuple[list[str], list[str]]:
    """The layers that the paper scales, and those of them that are scaled at their input."""
    names = set(targets.linear(model))
    attention = next((pair for pair in KEYS_VALUES if names >= set(pair)), None)
    last = next((name for name in FEEDFORWARD if name in names), None)
    if attention is None or last is None:
        missing(model, "keys, values and feed-forward output known by their names")
    return [*attention, last], [last]


def missing(model: nn.Module, what: str) -> NoReturn:
    """TL518 with what there is."""
    names = ", ".join(targets.linear(model))
    fail(
        "TL518",
        "missing-target",
        f"the model has no layers called {what}",
        f"its linear layers are {names}; name some in ia3(targets = [...], feedforward = [...])",
    )
