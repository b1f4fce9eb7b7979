"""Checkpoints that survive kill -9: written aside, hashed, fsynced, renamed; the last two stay.

A checkpoint holds what trains, the optimizer, the random generators and the method's own values,
as safetensors and JSON, never as a pickle of ours (DeepSpeed writes its own). `latest` needs no
torch; `save` and `restore` do.
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

    from tunelang.train.engines.engine import Engine

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
    engine: Engine | None = None

    @property
    def shared(self) -> Engine | None:
        """The engine, where it has a layout of its own; a single process keeps whole tensors."""
        return self.engine if self.engine is not None and self.engine.name != "none" else None


def latest(job: Job, engine: str = "none") -> Checkpoint | None:
    """The newest checkpoint that is whole and of as many processes; others are set aside, with a
    warning."""
    for path in sorted(folder(job).glob("[0-9]*"), reverse=True):
        found = damage(path)
        trouble = f"is damaged ({found})" if found else stranger(path, job, engine)
        if not trouble:
            return Checkpoint(path, int(path.name))
        path.rename(path.with_name(f"bad-{path.name}-{path.stat().st_mtime_ns}"))
        job.warn(f"checkpoint {int(path.name)} {trouble} and was set aside")
    return None


def stranger(path: Path, job: Job, engine: str) -> str:
    """Why a whole checkpoint is not for these processes; the empty string if it is."""
    saved = state(Checkpoint(path, int(path.name)))
    was = saved.get("engine", "none"), saved.get("processes", 1)
    if was == (engine, job.world):
        return ""
    return f"was made by {was[1]} processes ({was[0]}), not by {job.world} ({engine}),"


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
    """Write the checkpoint of `at` done steps, all or nothing; then drop all but the last two.

    Every process of the step writes its part; the first one closes it when all have.
    """
    aside = folder(job) / f".{at:06d}.aside"
    if job.leads:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    meet(parts)
    with room(job.home, f"checkpoint {at} cannot be written"):
        write(aside, job, at, parts)
        meet(parts)
        if job.leads:
            complete(aside)
    if job.leads:
        settle(job, aside, folder(job) / f"{at:06d}")
        job.emit({"event": "checkpoint", "at": at})
    meet(parts)


def meet(parts: Parts) -> None:
    """Wait for the other processes, where there are any."""
    if parts.engine is not None:
        parts.engine.wait()


def settle(job: Job, aside: Path, target: Path) -> None:
    """Give the checkpoint its name; the last ones stay."""
    if target.exists():
        shutil.rmtree(target)
    aside.rename(target)
    sync_folder(target.parent)
    for old in sorted(folder(job).glob("[0-9]*"))[:-KEEP]:
        shutil.rmtree(old)


def write(aside: Path, job: Job, at: int, parts: Parts) -> None:
    """What this process holds: weights, optimizers, random generators, and the method's values."""
    import torch

    from tunelang.train import optimizer_states

    plain: dict[str, Any] = {}
    if parts.shared is not None:
        parts.shared.save(aside)
    else:
        tensors, plain = optimizer_states.taken(parts.optimizers)
        write_tensors(aside / "weights.safetensors", dict(trainable(parts)))
        write_tensors(aside / "optimizer.safetensors", tensors)
    write_tensors(aside / named("random.safetensors", job.rank), generators())
    state = {
        "at": at,
        "values": parts.values,
        "optimizers": plain,
        "python_random": random.getstate(),
        "threads": torch.get_num_threads(),
        "processes": job.world,
        "engine": parts.engine.name if parts.engine else "none",
    }
    write_atomic(aside / named("state.json", job.rank), json.dumps(state).encode())


def named(file: str, rank: int) -> str:
    """The name of a process's own file; those of the first one have no number."""
    stem, _, suffix = file.partition(".")
    return f"{stem}-{rank}.{suffix}" if rank else file


def restore(found: Checkpoint, parts: Parts) -> dict[str, Any]:
    """Put weights, optimizers and generators back in place, bit for bit; return the values."""
    import torch
    from safetensors.torch import load_file

    rank = parts.engine.rank if parts.engine else 0
    saved = state(found, rank)
    if parts.shared is not None:
        parts.shared.restore(found.path)
    else:
        put_back(found, parts, saved)
    version, numbers, gauss = saved["python_random"]
    random.setstate((version, tuple(numbers), gauss))
    random_states = load_file(found.path / named("random.safetensors", rank))
    torch.set_rng_state(random_states["torch"])
    if "cuda" in random_states:
        torch.cuda.set_rng_state(random_states["cuda"])
    values: dict[str, Any] = saved["values"]
    return values


def put_back(found: Checkpoint, parts: Parts, saved: dict[str, Any]) -> None:
    """Weights and optimizers of a step that one process runs."""
    import torch
    from safetensors.torch import load_file

    from tunelang.train import optimizer_states

    weights = load_file(found.path / "weights.safetensors")
    ours = dict(trainable(parts))
    if weights.keys() != ours.keys():
        msg = f"checkpoint {found.at} holds other weights than this step trains"
        raise ValueError(msg)
    with torch.no_grad():
        for name, weight in ours.items():
            weight.copy_(weights[name])
    tensors = load_file(found.path / "optimizer.safetensors")
    optimizer_states.put(parts.optimizers, tensors, saved["optimizers"])


def state(found: Checkpoint, rank: int = 0) -> dict[str, Any]:
    """The JSON half of a checkpoint: at, values, optimizers, python_random, threads, engine."""
    path = found.path / named("state.json", rank)
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
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
        path.relative_to(aside).as_posix(): {
            "size": path.stat().st_size,
            "sha256": sha256_file(path),
        }
        for path in sorted(aside.rglob("*"))
        if path.is_file()
    }
    write_atomic(aside / COMPLETE, json.dumps({"files": files}).encode())
    sync_folder(aside)
