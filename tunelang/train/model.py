"""A reference to a model -> the model and tokenizer in memory, exactly as the stage starts.

Adapters of earlier stages are merged in fp32, in order, and then rounded to the precision of the
step; on 4-bit weights they stay attached and frozen, because merging there would round them away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from tunelang.plan.ir import HubModel, ModelRef
from tunelang.sources import encoders
from tunelang.train import deltas, expert_modules, quantise, token_rows
from tunelang.train.folders import Origin, origin, tokenizer_folder, weights_folder
from tunelang.train.job import Job, fail

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Loaded:
    """A model ready to train or run.

    `attached` names the frozen adapters that are part of its start (4-bit chains only).
    `head` is a reward's score vector [1, H] in fp32, `bias` what is added to its scores.
    `template` is the chat template that string prompts are written in; None: as plain text.
    """

    model: Any
    tokenizer: Any
    origin: Origin
    attached: tuple[str, ...] = ()
    head: Tensor | None = None
    bias: float = 0.0

    @property
    def template(self) -> str | None:
        text: str | None = self.tokenizer.chat_template
        return text if self.origin.template is not None else None


def load_encoder(ref: ModelRef, job: Job, *, precision: str) -> Loaded:
    """Load what embeds texts: a language model as `load` does, or an encoder without any head."""
    known = origin(ref, job)
    if known.deltas or known.quant or not encoders.of_folder(weights_folder(known.base, job)):
        return load(ref, job, precision=precision)
    tokenizer = read_tokenizer(tokenizer_folder(known, job))
    model = read_weights(known, job, DTYPES[precision], AutoModel)
    model.requires_grad_(False)
    model.eval()
    return Loaded(model.to(job.device), tokenizer, known)


def load(ref: ModelRef, job: Job, *, precision: str, quant: str | None = None) -> Loaded:
    """Load what `ref` stands for, with weights held in `precision` ("fp32" or "bf16").

    `quant` holds the linear layers in few bits; an object trained on such weights stays so.
    Raises UserError for models that are missing, pickled or damaged.
    """
    known = origin(ref, job)
    known = replace(known, quant=known.quant or quant)
    tokenizer = read_tokenizer(tokenizer_folder(known, job))
    head = load_file(known.head)["weight"].to(job.device) if known.head else None
    attached: tuple[str, ...] = ()
    if known.quant:
        model = read_quantised(known, job, precision)
        if known.deltas:
            model, attached = attach_deltas(model, known.deltas, job)
    elif known.deltas:
        model = read_weights(known, job, torch.float32)
        for key in known.deltas:
            deltas.apply(model, job.store.object(key))
        cast(model, precision)
        left = (
            "an earlier stage" if len(known.deltas) == 1 else f"{len(known.deltas)} earlier stages"
        )
        job.note(f"what {left} changed is merged into the weights, in fp32")
    else:
        model = read_weights(known, job, DTYPES[precision])
    model.config.use_cache = False
    expert_modules.one_after_another(model, job)
    model.requires_grad_(False)
    model.eval()
    return Loaded(model.to(job.loads_on), tokenizer, known, attached, head, known.bias)


def cast(model: nn.Module, precision: str) -> None:
    """Hold the weights in another precision. Not `model.to`: that would round the rotary
    frequencies too, which stay in fp32 when transformers loads a bf16 model."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(DTYPES[precision])


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, with a padding token (never trained on, so any one will do)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def read_weights(
    known: Origin, job: Job, dtype: torch.dtype, kind: Any = AutoModelForCausalLM, **more: Any
) -> Any:
    """Full weights from safetensors; a damaged file is told as such, and an encoder: transformers
    would give it an output layer of random weights."""
    folder = weights_folder(known.base, job)
    why = encoders.of_folder(folder)
    if why and kind is AutoModelForCausalLM:
        fail("TL427", "encoder-as-model", f"`{folder.name}` {why}", encoders.HELP)
    trusted = isinstance(known.base, HubModel) and known.base.trust_code
    try:
        return kind.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trusted,
            **more,
        )
    except SafetensorError as damaged:
        fail("TL732", "damaged-weights", f"the weights in `{folder}` are damaged: {damaged}")


def read_quantised(known: Origin, job: Job, precision: str) -> Any:
    """Weights in 4 or 8 bits; see `quantise` for what the words of `quant` mean."""
    held = quantise.held(known.quant or "")
    settings = quantise.settings(held, DTYPES[held.compute or precision])
    whole = DTYPES[precision]
    if held.kind == "int8":
        job.note("8-bit layers multiply in integers and 16-bit floats, whatever the precision")
    model = read_weights(
        known, job, whole, quantization_config=settings, device_map={"": job.device}
    )
    quantise.guard(model)
    return model


def attach_deltas(model: Any, deltas: tuple[str, ...], job: Job) -> tuple[Any, tuple[str, ...]]:
    """Frozen adapters on 4-bit weights, all active, named start0, start1, ... in order."""
    from peft import PeftModel

    names = tuple(f"start{place}" for place in range(len(deltas)))
    folders = [str(job.store.object(key) / "adapter") for key in deltas]
    token_rows.grow(model, max(token_rows.rows_of(Path(folder)) for folder in folders))
    wrapped = PeftModel.from_pretrained(model, folders[0], adapter_name=names[0])
    token_rows.settle(wrapped)
    for name, folder in zip(names[1:], folders[1:], strict=True):
        wrapped.load_adapter(folder, adapter_name=name)
        token_rows.settle(wrapped)
    wrapped.base_model.set_adapter(list(names))
    return wrapped, names
