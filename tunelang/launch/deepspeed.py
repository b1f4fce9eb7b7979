"""Several processes on this machine by DeepSpeed's own launcher."""

from __future__ import annotations

import sys

from tunelang.launch.launcher import Job, Launcher, each, unable
from tunelang.launch.machine import Machine
from tunelang.plan.ir import Step


def command(job: Job) -> list[str]:
    """`--no_local_rank` keeps `--local_rank=N` out of the worker's arguments.

    Port 0 would be refused, so the port follows from the key: two steps do not meet.
    """
    port = 29500 + int(job.step.key[:4], 16) % 1000
    launch = ["-m", "deepspeed.launcher.runner", "--num_gpus", str(each(job.step))]
    options = ["--master_port", str(port), "--no_local_rank", "--module"]
    return [sys.executable, *launch, *options, *job.worker]


def cannot(step: Step, machine: Machine) -> str | None:
    if step.import_from is not None:
        return "a model is converted by one process; the `local` launcher does that"
    return unable(step, machine)


LAUNCHER = Launcher("deepspeed", command, cannot)
