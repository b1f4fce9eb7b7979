"""Weights held in few bits through bitsandbytes: how they are said, made, and guarded.

`quant` of a product is `nf4`, `fp4` or `int8`; `nf4-single` has constants that are not quantised
again, and `nf4/fp32` computes in another format than the stage's precision. A chain of stages on
such weights keeps the word, so that each computes on exactly what the one before trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunelang.train.job import fail

# transformers 5 keeps all experts of a layer in one parameter [experts, out, in]; bitsandbytes
# passes it by without a word (its issue 1849; 77% of the weights of a small Qwen3-MoE, measured).
EXPERTS = 3


@dataclass(frozen=True)
class Held:
    """How a weight rests: `kind` nf4, fp4 or int8; `compute` None is the stage's precision."""

    kind: str
    double: bool
    compute: str | None


def word(fields: Mapping[str, Any]) -> str:
    """What a recipe's `qlora(...)` asks for, as a product says it."""
    if int(fields.get("bits", 4)) == 8:
        return "int8"
    kind = str(fields.get("type", "nf4"))
    single = "" if fields.get("double_quant", True) else "-single"
    compute = fields.get("compute")
    return f"{kind}{single}{f'/{compute}' if compute else ''}"


def held(said: str) -> Held:
    """The inverse of `word`."""
    form, _, compute = said.partition("/")
    kind, _, single = form.partition("-")
    return Held(kind, not single, compute or None)


def settings(how: Held, compute: torch.dtype) -> Any:
    """The configuration that transformers loads with; TL715 without bitsandbytes."""
    from transformers import BitsAndBytesConfig

    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        help = "pip install 'tunelang[quant]'"
        fail("TL715", "training-not-installed", "weights in few bits need `bitsandbytes`", help)
    if how.kind == "int8":
        # It would say at every layer of every pass what `model.load` says once.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=how.kind,
        bnb_4bit_use_double_quant=how.double,
        bnb_4bit_compute_dtype=compute,
    )


def guard(model: nn.Module) -> None:
    """Refuse what stayed whole in silence, and keep what is held from being repacked."""
    whole = [path for path, weight in model.named_parameters() if weight.dim() == EXPERTS]
    if whole:
        fail(
            "TL418",
            "unquantised-experts",
            f"{len(whole)} blocks of experts would stay whole ({whole[0]}): bitsandbytes holds "
            "linear layers only",
            "use weights = lora or esft, or a dense model",
        )
    keep_layout(model)


def keep_layout(model: nn.Module) -> None:
    """bitsandbytes 0.50.2 repacks 4-bit weights in an evaluation pass on CPUs with AVX512-BF16,
    and gradients after it are wrong (relative error 0.96 measured): forbid the repacking."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - no stub has it
