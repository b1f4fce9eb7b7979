"""`run` for export: the object's folder `export/` is what other tools read.

`safetensors`: whole weights, rounded to the step's precision, tokenizer and chat template.
`adapter`: the last stage's adapter, its base named. `gguf`: one file.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tunelang.plan.ir import HubModel, ModelRef, Step, StoreModel
from tunelang.run.store import room, write_json
from tunelang.train import product, prompted
from tunelang.train.checkpoint import os_errors
from tunelang.train.folders import Origin, origin
from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded, load
from tunelang.train.stage import Metrics

FOLDER = "export"
EXEMPLARS = (prompted.EXEMPLARS, prompted.SETTINGS)  # of a prompted model; nobody else reads them


def run(step: Step, job: Job) -> Metrics:
    """Write the folder, and say what is in it."""
    ref, form = step.inputs["model"], step.fields["format"]
    folder = product.begin(job) / FOLDER
    folder.mkdir()
    with room(job.home, f"the folder of `{step.name}` cannot be written"):
        if form["kind"] == "adapter":
            adapter(ref, origin(ref, job), job, folder)
        else:
            whole(step, job, folder)
        exemplars(ref, job, folder)
        product.describe(step, job, {**product.NO_MODEL, "format": form["kind"]})
        write_json(job.product / "metrics.json", {"before": {}, "after": {}, "series": []})
        product.close(step, job)
    return {"before": {}, "after": {}}


def whole(step: Step, job: Job, folder: Path) -> None:
    """The model as safetensors or GGUF; one in few bits has to be merged first."""
    ref, form = step.inputs["model"], step.fields["format"]
    held = origin(ref, job).quant
    if held:
        fail(
            "TL424",
            "export-in-few-bits",
            f"the model rests in {held}, and no other weights compute what it does",
            "merge it first: `onto` says what becomes of the adapters",
        )
    job.phase("loading model")
    if form["kind"] == "gguf":
        gguf(step, load(ref, job, precision="fp32"), job, folder)
        return
    loaded = load(ref, job, precision=step.precision)
    job.phase("writing safetensors")
    loaded.model.config.use_cache = True  # as users of the folder expect
    with os_errors():
        loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    job.note(f"whole weights in {step.precision}, with tokenizer{template(loaded)}")


def gguf(step: Step, loaded: Loaded, job: Job, folder: Path) -> None:
    """One file, its matrices in the kind that the recipe names."""
    from tunelang.train import gguf_writer

    kind = str(step.fields["format"]["type"])
    gguf_writer.ready(loaded.model, loaded.tokenizer)
    job.phase("writing GGUF")
    path = folder / f"{step.name}-{kind}.gguf"
    gguf_writer.write(path, loaded.model, loaded.tokenizer, kind, step.name)
    job.note(
        f"`{path.name}`: matrices in {kind}, the rest in f32, with tokenizer{template(loaded)}"
    )


def template(loaded: Loaded) -> str:
    return " and chat template" if loaded.tokenizer.chat_template else "; it has no chat template"


def adapter(ref: ModelRef, known: Origin, job: Job, folder: Path) -> None:
    """The adapter of the last stage, which must be the only one above its base."""
    held = job.store.object(known.deltas[-1]) / "adapter" if known.deltas else None
    if held is None or not held.is_dir():
        message = "the model has whole weights" if held is None else "its delta is no PEFT adapter"
        fail("TL425", "no-adapter-to-export", f"{message}, so there is no adapter to export")
    if len(known.deltas) > 1:
        fail(
            "TL425",
            "no-adapter-to-export",
            f"the model is {len(known.deltas)} adapters on a base, and PEFT loads one",
            "merge the stages before the last one, and train it on that",
        )
    shutil.copytree(held, folder, dirs_exist_ok=True)
    name, revision = named(known.base)
    settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    settings |= {"base_model_name_or_path": name, "revision": revision}
    write_json(folder / "adapter_config.json", settings)
    tokenizer = job.store.object(known.tokenizer) / "tokenizer" if known.tokenizer else None
    if tokenizer is not None:
        shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    job.note(f"the adapter fits {name} only{f', held in {known.quant}' if known.quant else ''}")


def named(base: Any) -> tuple[str, str | None]:
    """A base as PEFT looks for it: a hub repository and its commit, or a folder."""
    if isinstance(base, HubModel):
        return base.id, base.revision
    return (
        (f"objects/{base.key}/model", None) if isinstance(base, StoreModel) else (base.path, None)
    )


def exemplars(ref: ModelRef, job: Job, folder: Path) -> None:
    """What stands before the prompts of a prompted model goes along, and that it must is said."""
    if not (isinstance(ref, StoreModel) and job.store.product(ref.key)["kind"] == "prompted"):
        return
    for name in EXEMPLARS:
        shutil.copy(job.store.object(ref.key) / name, folder / name)
    job.note(
        f"its examples are in {EXEMPLARS[0]}: other tools do not put them before a prompt by "
        "themselves"
    )
