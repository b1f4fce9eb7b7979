"""The finished product of a step: weights, tokenizer, product.json, metrics; `product.done` last.

The parent hashes the folder and moves it into the store; until `product.done` is there, a restart
builds it anew.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.run.store import room, sync_tree, write_atomic, write_json
from tunelang.train import gathered, targets
from tunelang.train.checkpoint import os_errors, write_tensors
from tunelang.train.folders import Origin, json_of
from tunelang.train.job import Job
from tunelang.train.trainable import Trained, save_adapter

Metrics = Mapping[str, Mapping[str, float]]
# What product.json says of an object that no stage starts from: rows, figures, an export.
NO_MODEL: Mapping[str, Any] = {"base": None, "quant": None, "deltas": [], "tokenizer": None}


@dataclass(frozen=True)
class Finished:
    """What a step leaves. `template` is the chat template its product speaks, None for plain text.

    `weights` are what trained, by name, where the model itself does not hold it whole.
    `head` [1, H] and `bias` belong to a reward; `tensors` are further safetensors files by name;
    `series` are a few points for the report,
    `reports` what else is written as JSON, by file name.
    """

    trained: Trained
    tokenizer: Any
    origin: Origin
    metrics: Metrics
    template: str | None
    samples: Sequence[Mapping[str, str]] = ()
    series: Sequence[Mapping[str, Any]] = ()
    head: Tensor | None = None
    bias: float = 0.0
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    reports: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] | None = None


def write(step: Step, job: Job, finished: Finished) -> None:
    """Build `product/` and close it with `product.done`; of several processes the first one."""
    if not job.leads:
        return
    job.phase("saving")
    folder = begin(job)
    with room(job.home, f"the product of `{step.name}` cannot be written"):
        said = weights(step, job, finished)
        finished.tokenizer.save_pretrained(folder / "tokenizer")
        if finished.head is not None:
            write_tensors(folder / "head.safetensors", {"weight": finished.head.float()})
            said |= {"head": "head.safetensors", "bias": finished.bias}
        for name, tensors in finished.tensors.items():
            write_tensors(folder / name, dict(tensors))
        describe(step, job, said | {"template_sha256": digest(finished.template), **finished.more})
        series = [dict(point) for point in finished.series]
        write_json(folder / "metrics.json", {**finished.metrics, "series": series})
        for name, report in finished.reports.items():
            write_json(folder / name, report)
        if finished.samples:
            write_json(folder / "samples.json", [dict(sample) for sample in finished.samples])
        close(step, job)


def begin(job: Job) -> Any:
    """An empty product folder; what a killed run left there goes."""
    (job.work / "product.done").unlink(missing_ok=True)
    shutil.rmtree(job.product, ignore_errors=True)
    job.product.mkdir(parents=True)
    return job.product


def weights(step: Step, job: Job, finished: Finished) -> dict[str, Any]:
    """Save the adapter or the whole model; return how product.json names what it rests on."""
    trained, start = finished.trained, finished.origin
    deltas = [*start.deltas, step.key]
    if trained.untouched:
        return {"base": json_of(start.base), "quant": start.quant, "deltas": list(start.deltas)}
    if trained.delta is not None:
        trained.delta.save(job.product / trained.delta.folder)
        return {"base": json_of(start.base), "quant": start.quant, "deltas": deltas}
    if trained.adapter is None:
        model = trained.model
        if finished.weights is not None:
            model = gathered.model(model, finished.weights, step.precision)
        model.config.use_cache = True  # as users of the folder expect
        with os_errors():
            model.save_pretrained(job.product / "model")
        finished.tokenizer.save_pretrained(job.product / "model")
        return {"base": None, "quant": None, "deltas": []}
    save_adapter(trained.model, trained.adapter, job.product / "adapter", finished.weights)
    bare = targets.unreached(trained.model)
    if bare and step.weights and step.weights.fields.get("targets") == "all_linear":
        job.warn(f"PEFT gave no adapter to {', '.join(bare)}: they stayed as they were")
    return {"base": json_of(start.base), "quant": start.quant, "deltas": deltas}


def describe(step: Step, job: Job, said: Mapping[str, Any]) -> None:
    """Write product.json and step.json."""
    product = {"kind": step.product, "head": None, "tokenizer": step.key, **said}
    write_json(job.product / "product.json", product)
    write_json(job.product / "step.json", step.model_dump(mode="json"))


def close(step: Step, job: Job) -> None:
    """Mark the folder complete, once everything in it is on the disk."""
    sync_tree(job.product)
    write_atomic(job.work / "product.done", step.key.encode())


def digest(template: str | None) -> str | None:
    """The SHA-256 of a chat template."""
    return hashlib.sha256(template.encode()).hexdigest() if template is not None else None
