"""Checkpoints that survive kill -9: written aside, hashed, fsynced, renamed; the last two stay.

A checkpoint holds what trains, the optimizer, the random generators and the method's own values,
as safetensors and JSON, never as a pickle. `latest` needs no torch; `save` and `restore` do.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunelang.run.store import room, sha256_file, sync_folder, write_atomic
from tunelang.train.job import Checkpoint, Job

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

COMPLETE = "COMPLETE.json"
KEEP = 2  # a damaged newest one must leave an older one to fall back on


@dataclass(frozen=True)
class Parts:
    """What a checkpoint holds: the trainable parameters of named modules, optimizers, values.

    `values` is plain JSON of the method's own: before-metrics, KL coefficient, data position.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    values: dict[str, Any] = field(default_factory=dict)


def latest(job: Job) -> Checkpoint | None:
    """The newest checkpoint that is whole; damaged ones are set aside with a warning."""
    for path in sorted(folder(job).glob("[0-9]*"), reverse=True):
        trouble = damage(path)
        if not trouble:
            return Checkpoint(path, int(path.name))
        path.rename(path.with_name(f"bad-{path.name}-{path.stat().st_mtime_ns}"))
        job.warn(f"checkpoint {int(path.name)} is damaged ({trouble}) and was set aside")
    return None


def damage(path: Path) -> str:
    """Why a checkpoint cannot be trusted; the empty string if it can."""
    try:
        files: dict[str, dict[str, Any]] = json.loads((path / COMPLETE).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{COMPLETE} is missing or unreadable"
    for name, promised in files.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != promised["size"] or sha256_file(file) != promised["sha256"]:
            return f"{name} is not what was written"
    return ""


def save(job: Job, at: int, parts: Parts) -> None:
    """Write the checkpoint of `at` done steps, all or nothing; then drop all but the last two."""
    import torch

    target = folder(job) / f"{at:06d}"
    aside = folder(job) / f".{at:06d}.aside"
    shutil.rmtree(aside, ignore_errors=True)
    with room(job.home, f"checkpoint {at} cannot be written"):
        aside.mkdir(parents=True)
        tensors, plain = optimizer_states(parts)
        write_tensors(aside / "weights.safetensors", dict(trainable(parts)))
        write_tensors(aside / "optimizer.safetensors", tensors)
        write_tensors(aside / "random.safetensors", generators())
        state = {
            "at": at,
            "values": parts.values,
            "optimizers": plain,
            "python_random": random.getstate(),
            "threads": torch.get_num_threads(),
        }
        write_atomic(aside / "state.json", json.dumps(state).encode())
        complete(aside)
    if target.exists():
        shutil.rmtree(target)
    aside.rename(target)
    sync_folder(target.parent)
    job.emit({"event": "checkpoint", "at": at})
    for old in sorted(folder(job).glob("[0-9]*"))[:-KEEP]:
        shutil.rmtree(old)


def restore(found: Checkpoint, parts: Parts) -> dict[str, Any]:
    """Put weights, optimizers and generators back in place, bit for bit; return the values."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(found.path / "weights.safetensors")
    ours = dict(trainable(parts))
    if weights.keys() != ours.keys():
        msg = f"checkpoint {found.at} holds other weights than this step trains"
        raise ValueError(msg)
    with torch.no_grad():
        for name, weight in ours.items():
            weight.copy_(weights[name])
    saved = state(found)
    restore_optimizers(parts, load_file(found.path / "optimizer.safetensors"), saved["optimizers"])
    version, numbers, gauss = saved["python_random"]
    random.setstate((version, tuple(numbers), gauss))
    random_states = load_file(found.path / "random.safetensors")
    torch.set_rng_state(random_states["torch"])
    if "cuda" in random_states:
        torch.cuda.set_rng_state(random_states["cuda"])
    values: dict[str, Any] = saved["values"]
    return values


def state(found: Checkpoint) -> dict[str, Any]:
    """The JSON half of a checkpoint: at, values, optimizers, python_random, threads."""
    loaded: dict[str, Any] = json.loads((found.path / "state.json").read_text("utf-8"))
    return loaded


def folder(job: Job) -> Path:
    """Where the checkpoints of a step are."""
    return job.work / "checkpoints"


def trainable(parts: Parts) -> Iterator[tuple[str, Tensor]]:
    """Every parameter that trains, as `module.parameter`."""
    for prefix, module in parts.modules.items():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                yield f"{prefix}.{name}", parameter


def generators() -> dict[str, Tensor]:
    """The states of torch's random generators."""
    import torch

    states = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def optimizer_states(parts: Parts) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Optimizer states parted into tensors (`optimizer/parameter/value`) and plain JSON."""
    import torch

    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for prefix, optimizer in parts.optimizers.items():
        held = optimizer.state_dict()
        rest: dict[str, dict[str, Any]] = {}
        for index, values in held["state"].items():
            for name, value in values.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"{prefix}/{index}/{name}"] = value
                else:
                    rest.setdefault(str(index), {})[name] = value
        plain[prefix] = {"state": rest, "param_groups": held["param_groups"]}
    return tensors, plain


def restore_optimizers(parts: Parts, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """The inverse of `optimizer_states`."""
    states: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in parts.optimizers}
    for path, tensor in tensors.items():
        prefix, index, name = path.split("/")
        states[prefix].setdefault(int(index), {})[name] = tensor
    for prefix, optimizer in parts.optimizers.items():
        for index, values in plain[prefix]["state"].items():
            states[prefix].setdefault(int(index), {}).update(values)
        groups = plain[prefix]["param_groups"]
        optimizer.load_state_dict({"state": states[prefix], "param_groups": groups})


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """A safetensors file, fsynced."""
    from safetensors.torch import save_file

    with os_errors():
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def os_errors() -> Iterator[None]:
    """safetensors hides a full disk in its own exception: give the OSError back."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as problem:
        found = re.search(r"os error (\d+)", str(problem))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number)) from problem


def complete(aside: Path) -> None:
    """Write the list of every file's size and hash, last: its presence means all are there."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(aside.iterdir())
    }
    write_atomic(aside / COMPLETE, json.dumps({"files": files}).encode())
    sync_folder(aside)
