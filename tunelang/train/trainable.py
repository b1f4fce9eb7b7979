"""What trains: all weights, or a fresh adapter beside frozen ones; never silently nothing.

Adapters are held in fp32 whatever the base is in: in bf16 most updates at lr 1e-5 are rounded
away (9% of weights ever move, measured). requires_grad is set here by name and nowhere else,
because PEFT's set_adapter and disable_adapter switch it on again as a side effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from tunelang.plan.ir import Step, Weights
from tunelang.recipe import kinds
from tunelang.train import quantise, targets
from tunelang.train.checkpoint import write_tensors
from tunelang.train.job import fail
from tunelang.train.model import Loaded

ADAPTERS = ("lora", "qlora")
KINDS: dict[str, str] = {  # modules of the other kinds of `weights`
    "experts": "tunelang.train.experts",
    "ia3": "tunelang.train.ia3",
    "layers": "tunelang.train.layers",
    "head": "tunelang.train.layers",
}


class Delta(Protocol):
    """What one kind of `weights` saves beside a base; `deltas.apply` knows its folder."""

    @property
    def folder(self) -> str:
        """The folder of the object that it is saved in."""

    def save(self, folder: Path) -> None:
        """Write the trained part into a fresh folder."""


@dataclass(frozen=True)
class Trained:
    """A model with something to train. `adapter` is its name, or None for the model's own weights.

    `start` are the adapters that are part of the stage's start; using only those is exactly
    the model the stage began with: the reference. `delta` saves what trained where that is
    neither an adapter nor the whole model. `masters`: what trains is held in fp32. `untouched`: the
    model is the stage's start, and only a head beside it trains.
    """

    model: Any
    adapter: str | None
    start: tuple[str, ...]
    delta: Delta | None = None
    masters: bool = True
    untouched: bool = False

    @property
    def active(self) -> tuple[str, ...]:
        return (*self.start, self.adapter) if self.adapter else self.start


def is_adapter(step: Step) -> bool:
    """Does the step train an adapter (and leave the weights as they are)?"""
    return step.weights is not None and kinds.weights()[step.weights.kind].adapter


def storage(step: Step) -> str:
    """The precision weights are held in: fp32 masters where they train, the step's else."""
    return step.precision if is_adapter(step) or not has_masters(step.weights) else "fp32"


def has_masters(weights: Weights | None) -> bool:
    """Are updates added to fp32 weights? Without, small ones are rounded away."""
    return weights is None or weights.fields.get("masters") != "none"


def quantised(step: Step) -> str | None:
    """The word for how qlora holds its base, else None."""
    if step.weights is None or step.weights.kind != "qlora":
        return None
    return quantise.word(step.weights.fields)


def make_trainable(loaded: Loaded, weights: Weights, name: str = "default") -> Trained:
    """Everything for `full`, a fresh adapter called `name` for lora and qlora.

    Every other kind has a module of its own with a function `make`.
    """
    if weights.kind == "full":
        return everything(loaded, masters=has_masters(weights))
    if weights.kind not in ADAPTERS:
        made: Trained = import_module(KINDS[weights.kind]).make(loaded, weights)
        return made
    model = add_adapter(loaded.model, name, weights)
    trained = Trained(model, name, loaded.attached)
    train_only(model, [name])
    with_adapters(model, trained.active)
    return trained


def everything(loaded: Loaded, *, masters: bool = True) -> Trained:
    """Full tuning; 4-bit weights cannot be trained."""
    if loaded.origin.quant:
        fail(
            "TL412",
            "quantised-full-tuning",
            "the model is held in 4 bits, which cannot be trained directly",
            "use weights = qlora",
        )
    loaded.model.requires_grad_(True)
    return Trained(loaded.model, None, (), masters=masters)


def add_adapter(model: Any, name: str, weights: Weights) -> Any:
    """`model` as a PeftModel with one more fresh adapter in fp32: A random, B zero."""
    settings = lora(weights.fields, model)
    try:
        if isinstance(model, PeftModel):
            model.add_adapter(name, settings)
        else:
            model = get_peft_model(model, settings, adapter_name=name)
    except ValueError as mistake:
        if "not found in the base model" not in str(mistake):
            raise
        wanted = ", ".join(weights.fields["targets"])
        fail(
            "TL518",
            "missing-target",
            f"the model has no layers called {wanted}",
            f"its linear layers are {', '.join(targets.linear(model))}",
        )
    for parameter in adapter_parameters(model, name):
        parameter.data = parameter.data.float()
    return model


def lora(fields: Mapping[str, Any], model: nn.Module) -> LoraConfig:
    """PEFT's settings for our fields; `all_linear` is every linear layer and every expert."""
    chosen = targets.chosen(model, fields["targets"])
    return LoraConfig(
        r=int(fields["rank"]),
        lora_alpha=fields["alpha"],
        lora_dropout=float(fields["dropout"]),
        target_modules=chosen.layers,
        target_parameters=chosen.experts,
        exclude_modules=chosen.routers,
        use_rslora=bool(fields.get("rslora", False)),
        use_dora=bool(fields.get("dora", False)),
        trainable_token_indices=fields.get("new_rows"),  # set by `vocabulary.trained`
        task_type="CAUSAL_LM",
        bias="none",
    )


def load_adapter(model: Any, folder: Path, name: str) -> Any:
    """`model` as a PeftModel with a saved adapter called `name`, frozen and in fp32."""
    if isinstance(model, PeftModel):
        model.load_adapter(str(folder), adapter_name=name)
    else:
        model = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
    for parameter in adapter_parameters(model, name):
        parameter.data = parameter.data.float()
        parameter.requires_grad_(False)
    return model


def train_only(model: nn.Module, names: Iterable[str]) -> None:
    """Set requires_grad of every parameter: true for the named adapters, false for the rest."""
    model.requires_grad_(False)
    for name in names:
        for parameter in adapter_parameters(model, name):
            parameter.requires_grad_(True)


def adapter_parameters(model: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters of one adapter, by their PEFT names."""
    return [found for path, found in model.named_parameters() if f".{name}." in f"{path}."]


def with_adapters(model: nn.Module, names: Iterable[str]) -> None:
    """Compute with exactly these adapters from now on; requires_grad stays as it is."""
    chosen = list(names)
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module._disable_adapters = not chosen
            module._active_adapter = chosen


@contextmanager
def using(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Compute with exactly these adapters inside the block; the former ones come back after."""
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    before = [(layer._disable_adapters, layer._active_adapter) for layer in layers]
    with_adapters(model, names)
    try:
        yield
    finally:
        for layer, (disabled, active) in zip(layers, before, strict=True):
            layer._disable_adapters, layer._active_adapter = disabled, active


def parameters(trained: Trained) -> dict[str, Tensor]:
    """What trains, by name; a step that would train nothing fails here."""
    found = {name: value for name, value in trained.model.named_parameters() if value.requires_grad}
    if not found:
        fail("TL733", "nothing-trains", "no weight of the model would be trained")
    wrong = [name for name, value in found.items() if value.dtype != torch.float32]
    if wrong and trained.masters:
        msg = f"trained weights must be fp32 masters: {wrong[0]}"
        raise TypeError(msg)
    return found


def save_adapter(
    model: Any, name: str, folder: Path, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, with no path in them.

    `weights` by name stand for those of the model where it does not hold them whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = model.peft_config[name]
    settings.base_model_name_or_path = None
    settings.inference_mode = True
    settings.save_pretrained(str(folder))
    held = None if weights is None else dict(weights)
    tensors = get_peft_model_state_dict(
        model, state_dict=held, adapter_name=name, save_embedding_layers=False
    )
    write_tensors(folder / "adapter_model.safetensors", tensors)
