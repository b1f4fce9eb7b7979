"""`run` for import_model: a GGUF file or an architecture -> a Hugging Face folder in the store.

Done once; later steps start from the safetensors. It trains nothing.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from tunelang.plan.ir import AdapterModel, GgufModel, ScratchModel, Step
from tunelang.run.store import room, write_json
from tunelang.sources import gguf_positions
from tunelang.sources.adapters import CONFIG, WEIGHTS
from tunelang.train import product
from tunelang.train.checkpoint import os_errors
from tunelang.train.folders import json_of, origin
from tunelang.train.job import Job, fail
from tunelang.train.model import cast

Metrics = dict[str, dict[str, float]]


def run(step: Step, job: Job) -> Metrics:
    """Make model/ and product.json; returns no metrics."""
    wanted = step.import_from
    if isinstance(wanted, AdapterModel):
        job.phase("reading adapter")
        take_adapter(step, job, wanted)
        return {"before": {}, "after": {}}
    if isinstance(wanted, GgufModel):
        job.phase("reading GGUF")
        model, tokenizer = from_gguf(wanted, job)
    elif isinstance(wanted, ScratchModel):
        from tunelang.train import scratch

        job.phase("building tokenizer and model")
        tokenizer = scratch.tokenizer(wanted)
        model = scratch.model(wanted, tokenizer)
    else:
        msg = f"step {step.name} has nothing to import"
        raise ValueError(msg)
    cast(model, step.precision)
    write(step, job, (model, tokenizer))
    return {"before": {}, "after": {}}


def write(step: Step, job: Job, made: tuple[Any, Any]) -> None:
    """The product folder of an imported (model, tokenizer)."""
    model, tokenizer = made
    job.phase("saving")
    folder = product.begin(job)
    with room(job.home, f"the model of `{step.name}` cannot be written"):
        with os_errors():
            model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        said: dict[str, Any] = {"base": None, "quant": None, "deltas": [], "tokenizer": None}
        template = product.digest(tokenizer.chat_template)
        product.describe(step, job, said | {"template_sha256": template})
        write_json(folder / "metrics.json", {"before": {}, "after": {}, "series": []})
        product.close(step, job)


def take_adapter(step: Step, job: Job, wanted: AdapterModel) -> None:
    """The adapter's two files beside what its base rests on; they are laid over it when loaded."""
    below = origin(step.inputs["base"], job)
    folder = product.begin(job)
    with room(job.home, f"the adapter of `{step.name}` cannot be written"):
        (folder / "adapter").mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(Path(wanted.path) / name, folder / "adapter" / name)
        said: dict[str, Any] = {
            "base": json_of(below.base),
            "quant": below.quant,
            "deltas": [*below.deltas, step.key],
            "tokenizer": below.tokenizer,
            "template_sha256": below.template,
        }
        product.describe(step, job, said)
        write_json(folder / "metrics.json", {"before": {}, "after": {}, "series": []})
        product.close(step, job)


def from_gguf(wanted: GgufModel, job: Job) -> tuple[Any, Any]:
    """Model in fp32 and tokenizer of a GGUF file, free of its quantisation.

    transformers does not read how positions are stretched: the config is told, which is what later
    steps load. Raises UserError TL732 for a file that cannot be read, or not whole.
    """
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(wanted.path)
    if not path.is_file():
        fail("TL730", "missing-weights", f"`{path}` does not exist")
    place = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    try:
        rope = gguf_positions.rope_parameters(path)
        with remembered(gguf, "GGUFReader", "get_tensor_name_map"):
            tokenizer = AutoTokenizer.from_pretrained(**place)
            model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    except (ValueError, KeyError, IndexError) as unreadable:
        message = f"`{path.name}` cannot be read as GGUF: {unreadable}"
        fail("TL732", "damaged-weights", message, "download it again, or use a safetensors folder")
    forget_gguf(model)
    if rope:
        model.config.rope_parameters = rope
        job.note(f"its positions are stretched: {rope['rope_type']}, {rope['factor']:g} times")
    return model, tokenizer


@contextmanager
def remembered(module: ModuleType, *names: str) -> Iterator[None]:
    """Inside the block the named functions of a module compute each answer once.

    transformers reads the header of a GGUF file (100,000 strings) three times, and makes one
    table of names for every layer: half of the time of an import. The collector rests
    meanwhile; the header's strings are all kept.
    """
    kept = {name: getattr(module, name) for name in names}
    for name, function in kept.items():
        setattr(module, name, cache(function))
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name, function in kept.items():
            setattr(module, name, function)


def forget_gguf(model: Any) -> None:
    """transformers refuses to save what it read from GGUF until it forgets where it came from."""
    del model.config.quantization_config
    model.hf_quantizer = None
    for name in ("quantization_method", "is_quantized"):
        model.__dict__.pop(name, None)
