"""What a stage left beside its base -> the same change in the weights of a loaded model.

One function per kind of delta, found by the folder that an object keeps it in. `model` is in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from tunelang.train import expert_delta, token_rows
from tunelang.train.job import fail

NAME = "merged"  # of the adapter while it is merged


def apply(model: nn.Module, product: Path) -> None:
    """Bring the deltas of an object into the model's weights."""
    found = [name for name in FOLDERS if (product / name).is_dir()]
    if not found:
        msg = f"{product} holds no delta"
        raise ValueError(msg)
    for name in found:
        FOLDERS[name](model, product / name)


def adapter(model: nn.Module, folder: Path) -> None:
    """Merge an adapter of any of PEFT's kinds, by PEFT's own arithmetic.

    TL411 where it was made for another model: a layer is missing, or has another shape.
    """
    token_rows.grow(model, token_rows.rows_of(folder))
    try:
        wrapped = PeftModel.from_pretrained(model, str(folder), adapter_name=NAME)
    except (ValueError, RuntimeError, KeyError) as wrong:
        fail("TL411", "adapter-of-other-base", f"`{folder}` does not fit: {_short(wrong)}")
    held = load_file(folder / "adapter_model.safetensors").keys()
    missing = held - get_peft_model_state_dict(wrapped, adapter_name=NAME).keys()
    if missing:
        fail("TL411", "adapter-of-other-base", f"`{folder}` does not fit: no {min(missing)}")
    wrapped.merge_and_unload()


def _short(wrong: Exception) -> str:
    return str(wrong).strip().splitlines()[-1].strip()


FOLDERS: dict[str, Callable[[nn.Module, Path], None]] = {
    "adapter": adapter,
    expert_delta.FOLDER: expert_delta.bring,
}
