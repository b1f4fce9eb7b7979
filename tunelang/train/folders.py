"""Where the files of a model are: store objects, local folders and the hub's cache.

Out comes a Hugging Face folder with safetensors in it; anything else is a diagnostic, and a
pickle is never opened. It knows no torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tunelang.plan.ir import FolderModel, HubModel, ModelRef, StoreModel
from tunelang.train.job import Job, fail

REF: TypeAdapter[ModelRef] = TypeAdapter(ModelRef)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.py"]
AS_SAFETENSORS = "ask its author for safetensors, or convert it on a machine you can lose"


@dataclass(frozen=True)
class Origin:
    """What a product says it rests on: full weights, how they are held, adapters in order.

    `template` is whether it speaks the chat template of its tokenizer.
    """

    base: StoreModel | HubModel | FolderModel
    deltas: tuple[str, ...]
    quant: str | None
    tokenizer: str | None
    template: str | None
    head: Path | None = None
    bias: float = 0.0


def origin(ref: ModelRef, job: Job) -> Origin:
    """What a reference stands for, by its product.json when it is of the store."""
    if ref.kind != "store":
        return Origin(ref, (), None, None, "own")
    product = job.store.product(ref.key)
    base = ref if product["base"] is None else REF.validate_python(product["base"])
    head = job.store.object(ref.key) / product["head"] if product.get("head") else None
    return Origin(
        base,
        tuple(product["deltas"]),
        product.get("quant"),
        product.get("tokenizer"),
        product.get("template_sha256"),
        head,
        float(product.get("bias", 0.0)),
    )


def weights_folder(ref: ModelRef, job: Job) -> Path:
    """The checked folder with a model's full weights.

    Raises UserError: TL903 for pickled weights, TL730 for none, TL731 for a model not here.
    """
    if isinstance(ref, StoreModel):
        path = job.store.object(ref.key) / "model"
    elif isinstance(ref, FolderModel):
        path = Path(ref.path)
    else:
        path = hub_folder(ref)
    refuse_unsafe(path)
    return path


def tokenizer_folder(known: Origin, job: Job) -> Path:
    """Where the tokenizer is: an object's tokenizer/, or the base's own folder."""
    if known.tokenizer is not None:
        return job.store.object(known.tokenizer) / "tokenizer"
    return weights_folder(known.base, job)


def hub_folder(ref: HubModel) -> Path:
    """The hub's cached snapshot, downloaded first where the run is allowed to."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    try:
        found = snapshot_download(
            ref.id, revision=ref.revision, allow_patterns=HUB_FILES, local_files_only=offline
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        message = f"`{ref.id}` at {ref.revision[:12]} is not in the hub's cache on this machine"
        if not offline:
            message = f"`{ref.id}` at {ref.revision[:12]} could not be fetched from the hub"
        fail(
            "TL731",
            "model-not-here",
            message,
            "check its name, your network and your access, or give the model as a local folder",
        )
    return Path(found)


def refuse_unsafe(path: Path) -> None:
    """Only a folder with config.json and safetensors passes."""
    if not (path / "config.json").is_file():
        fail("TL730", "missing-weights", f"`{path}` is no model folder: it has no config.json")
    if any(path.glob("*.safetensors")):
        return
    pickles = sorted(found.name for pattern in PICKLES for found in path.glob(pattern))
    if pickles:
        message = f"the weights of `{path}` are a pickle ({pickles[0]}): loading it runs its code"
        fail("TL903", "pickled-weights", message, AS_SAFETENSORS)
    fail("TL730", "missing-weights", f"`{path}` has no weights (*.safetensors)")


def json_of(ref: ModelRef) -> dict[str, Any]:
    """A reference as product.json holds it."""
    return ref.model_dump(mode="json")
