"""The machine a step runs on: seeds, threads, determinism, versions, peak memory."""

from __future__ import annotations

import os
import random
import resource
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
import transformers

from tunelang.plan.ir import Step
from tunelang.train import checkpoint
from tunelang.train.engines import group
from tunelang.train.job import Job, fail

STACK = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "safetensors")
NO_DEVICE_HELP = "run it `on` the CPU, or on a machine with a GPU and a CUDA build of torch"


def prepare(step: Step, job: Job) -> None:
    """Make the run repeatable: threads, seeds and deterministic kernels, before any weights."""
    if step.place.device == "cuda" and not torch.cuda.is_available():
        fail("TL714", "backend-cannot", "this machine has no usable GPU", NO_DEVICE_HELP)
    if job.world != step.place.processes:
        message = f"`{step.name}` is planned for {step.place.processes} processes, not {job.world}"
        fail("TL714", "backend-cannot", message, "start it with the launcher that the plan names")
    threads = saved_threads(job) or step.place.threads
    if threads != step.place.threads:
        job.note(f"going on with {threads} threads, as the checkpoint was made with")
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    seed(step.seed)


def join(step: Step, job: Job) -> Job:
    """Meet the other processes of the step; all go on from the checkpoint that the first found."""
    if job.world == 1 and step.place.sharding in ("none", "ddp"):
        return job
    group.start(step.place.device)
    return replace(job, resume=group.gathered(job.resume)[0])


def saved_threads(job: Job) -> int | None:
    """The thread count of the checkpoint to go on from: another one changes the last bits."""
    if job.resume is None:
        return None
    threads = int(checkpoint.state(job.resume)["threads"])
    if threads <= (os.cpu_count() or 1):
        return threads
    job.warn(f"the checkpoint used {threads} threads, more than there are: last bits may differ")
    return None


def seed(number: int) -> None:
    """Seed Python's and torch's generators (numpy's is used by no part of a step)."""
    random.seed(number)
    torch.manual_seed(number)


def start(step: Step, job: Job) -> dict[str, Any]:
    """The `start` event."""
    return {
        "event": "start",
        "step": step.name,
        "resumed_at": job.resume.at if job.resume else 0,
        "threads": torch.get_num_threads(),
        "stack": stack(),
        "device": step.place.device,
    }


def done(metrics: Mapping[str, Mapping[str, float]], seconds: float) -> dict[str, Any]:
    """The `done` event; `metrics` by "before" and "after"."""
    return {
        "event": "done",
        "metrics": {when: dict(values) for when, values in metrics.items()},
        "peak_bytes": peak_bytes(),
        "seconds": round(seconds, 3),
    }


def stack() -> dict[str, str]:
    """Installed versions of what computes the result."""
    found = {"python": sys.version.split()[0]}
    for name in (*STACK, "bitsandbytes"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peak_bytes() -> int:
    """Most memory held so far: on the GPU if one was used, else by this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
