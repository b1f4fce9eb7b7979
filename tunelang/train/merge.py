"""`run` for merge: the adapters of a stage and the weights below them -> whole weights.

Added in fp32, then rounded to the step's precision. Merged onto the dequantised values the model
is what it was: its logits are compared with those of the model before, and a difference beyond
fp32's rounding stops the step. Measured on a small model at fp32: onto the dequantised values the
logits change by 0.0000, onto the original weights by 0.66, held in 4 bits again by 0.83.
"""

from __future__ import annotations

import gc
import json
from typing import Any

import torch
from torch import Tensor, nn

from tunelang.plan.ir import ModelRef, Step, StoreModel
from tunelang.run.store import room, write_json
from tunelang.train import deltas, forward, product
from tunelang.train.checkpoint import os_errors
from tunelang.train.folders import Origin, origin, tokenizer_folder
from tunelang.train.job import Job
from tunelang.train.model import Loaded, cast, load, read_tokenizer, read_weights
from tunelang.train.stage import Metrics

PROBE = 64  # tokens whose logits are compared: enough to pass every layer at many positions
SAME = 1e-4  # of the largest logit; fp32 sums in another order differ by about 1e-6
INTEGERS = "int8"  # 8-bit layers round what they read too: nothing merged computes the same


def run(step: Step, job: Job) -> Metrics:
    """Merge, compare with the model before, write whole weights."""
    ref, onto = step.inputs["model"], str(step.fields["onto"])
    known = origin(ref, job)
    job.phase("merging")
    held = known.quant
    if held and onto == "original":
        model, tokenizer = onto_original(known, job)
    elif held:
        model, tokenizer = onto_dequantised(ref, held, job)
    else:
        loaded = load(ref, job, precision="fp32")
        model, tokenizer = loaded.model, loaded.tokenizer
    tell(job, known, onto, step.precision)
    cast(model, step.precision)
    quant = held if onto == "quantised" else None
    write(step, job, (model, tokenizer), {"quant": quant, "template_sha256": known.template})
    return {"before": {}, "after": {}}


def onto_original(known: Origin, job: Job) -> tuple[Any, Any]:
    """The adapters on the weights as they were before they were held in few bits."""
    tokenizer = read_tokenizer(tokenizer_folder(known, job))
    model = read_weights(known, job, torch.float32)
    for key in known.deltas:
        deltas.apply(model, job.store.object(key))
    return model, tokenizer


def onto_dequantised(ref: ModelRef, held: str, job: Job) -> tuple[Any, Any]:
    """The adapters on the values that the resting weights stand for: the model as it computes."""
    loaded = load(ref, job, precision=trained_in(ref, job))
    in_fp32(loaded.model)
    live = logits(loaded.model)
    model = bare(loaded)
    whole(model)
    for key in loaded.origin.deltas:
        deltas.apply(model, job.store.object(key))
    if not held.startswith(INTEGERS):
        compare(job, live, logits(model))
    return model, loaded.tokenizer


def trained_in(ref: ModelRef, job: Job) -> str:
    """The precision that a stage was trained in: its weights were read in it, then quantised."""
    if not isinstance(ref, StoreModel):
        return "fp32"
    said = json.loads((job.store.object(ref.key) / "step.json").read_text("utf-8"))
    return str(said["precision"])


def in_fp32(model: nn.Module) -> None:
    """Compute in fp32 over the same resting weights."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    for module in model.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = torch.float32  # type: ignore[assignment]


def bare(loaded: Loaded) -> Any:
    """The model without its adapters."""
    return loaded.model.unload() if loaded.attached else loaded.model


def whole(model: nn.Module) -> None:
    """Every layer in few bits becomes a plain one in fp32 with the values it stands for."""
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    for name, module in list(model.named_modules()):
        if type(module).__name__ not in ("Linear4bit", "Linear8bitLt"):
            continue
        layer = nn.Linear(module.in_features, module.out_features, module.bias is not None)
        state = getattr(module, "state", None)
        values = dequantize_bnb_weight(module.weight, state)
        layer.weight = nn.Parameter(values.float(), requires_grad=False)
        if module.bias is not None:
            layer.bias = nn.Parameter(module.bias.data.float(), requires_grad=False)
        model.set_submodule(name, layer)
    forget(model)


def forget(model: Any) -> None:
    """transformers refuses to save what it quantised until it forgets that it did."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    for name in ("quantization_method", "is_quantized", "is_loaded_in_4bit", "is_loaded_in_8bit"):
        model.__dict__.pop(name, None)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    """Logits [T, V] of a fixed row of tokens."""
    inner = forward.causal(model)
    table = inner.get_input_embeddings().weight
    ids = torch.arange(PROBE, device=table.device)[None] * 7919 % table.shape[0]
    found: Tensor = inner(input_ids=ids, use_cache=False).logits[0].float()
    return found


def compare(job: Job, live: Tensor, merged: Tensor) -> None:
    """The self-check: whole weights compute what adapters and base did."""
    difference = float((live - merged).abs().max())
    help = "report it: the adapters were not merged onto what they were trained over"
    trouble = (f"logits change by {difference:.2g}", help)
    job.check(
        "merged-equals-live", difference, difference <= SAME * float(live.abs().max()), trouble
    )
    job.note(f"merged weights compute the logits of the model before, to {difference:.1g}")


def tell(job: Job, known: Origin, onto: str, precision: str) -> None:
    """What was merged onto what, and in which precision it rests."""
    count = len(known.deltas)
    if not count:
        job.note("the model has whole weights already: nothing was merged")
        return
    said = {
        "dequantised": f"the values that the {known.quant} weights stand for",
        "original": f"the weights before they were held as {known.quant}: it computes something "
        "else than the model that was trained",
        "quantised": f"{known.quant} weights, and is held so again: much of what was learnt is "
        "rounded away",
    }
    where = said[onto] if known.quant else "the weights that it was trained over"
    job.note(f"{count} adapters merged in fp32 onto {where}; rounded to {precision}")
    if known.quant and known.quant.startswith(INTEGERS):
        job.note(
            "8-bit layers round what they read too: merged weights do not, and differ a little"
        )


def write(step: Step, job: Job, made: tuple[Any, Any], said: dict[str, Any]) -> None:
    """The product folder of whole weights."""
    model, tokenizer = made
    job.phase("saving")
    gc.collect()
    folder = product.begin(job)
    model.config.use_cache = True  # as users of the folder expect
    with room(job.home, f"the model of `{step.name}` cannot be written"):
        with os_errors():
            model.save_pretrained(folder / "model")
        for name in ("model", "tokenizer"):
            tokenizer.save_pretrained(folder / name)
        product.describe(step, job, {"base": None, "deltas": [], **said})
        write_json(folder / "metrics.json", {"before": {}, "after": {}, "series": []})
        product.close(step, job)
