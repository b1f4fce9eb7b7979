"""A few updates of a model with random weights on the device at hand, timed: `tunelang probe`.

`python -m tunelang.train.probe SPEC.json ANSWER.json`. The parts are those of a training stage:
the loss of `forward`, fp32 weights under autocast, fused AdamW, clipped gradients.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from tunelang.train import forward
from tunelang.train.forward import Batch

WARM = 1  # updates that are not counted: kernels are chosen, memory is taken
KIB = 1024  # ru_maxrss counts these (getrusage(2))


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """`spec`: config, device, precision, micro, length, steps. Seconds of every update that counts,
    bytes of tensors at their peak and of the device in all."""
    torch.manual_seed(0)
    device, sizes = spec["device"], dict(spec["config"])
    settings = AutoConfig.for_model(sizes.pop("model_type"), **sizes)
    model = AutoModelForCausalLM.from_config(settings, dtype=torch.float32).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    batch = _batch(spec, settings.get_text_config().vocab_size)
    seconds = [_timed(spec, model, optimizer, batch) for _ in range(WARM + spec["steps"])]
    return {"seconds": seconds[WARM:], **_peak(device), "stack": _stack()}


def _batch(spec: dict[str, Any], words: int) -> Batch:
    """Random tokens, all of which are learnt: [micro, length]."""
    shape = (spec["micro"], spec["length"])
    ids = torch.randint(words, shape, device=spec["device"])
    return Batch(ids, ids, None)


def _timed(spec: dict[str, Any], model: nn.Module, optimizer: Any, batch: Batch) -> float:
    """Seconds of one update, the device's own work included."""
    device = spec["device"]
    _wait(device)
    began = time.perf_counter()
    with forward.autocast(spec["precision"], device):
        loss = forward.loss_sum(model, batch) / batch.ids.numel()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak(device: str) -> dict[str, int | None]:
    """Bytes at the worst moment. `device` counts what lies outside the allocator: on a GPU what the
    driver gave beside it, on a CPU all that the process ever held."""
    if device == "cpu":
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
        return {"allocated": None, "reserved": None, "device": resident}
    free, total = torch.cuda.mem_get_info()
    outside = total - free - torch.cuda.memory_reserved()
    reserved = torch.cuda.max_memory_reserved()
    return {
        "allocated": torch.cuda.max_memory_allocated(),
        "reserved": reserved,
        "device": reserved + outside,
    }


def _stack() -> str:
    return f"torch {torch.__version__}, transformers {transformers.__version__}"


if __name__ == "__main__":
    told = run(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(told), "utf-8")
