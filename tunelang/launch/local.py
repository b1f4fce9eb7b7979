"""One process on this machine: the CPU, or one GPU."""

from __future__ import annotations

import sys

from tunelang.launch.launcher import Job, Launcher, lacks_gpus
from tunelang.launch.machine import Machine
from tunelang.plan.ir import Step


def command(job: Job) -> list[str]:
    return [sys.executable, "-m", *job.worker]


def cannot(step: Step, machine: Machine) -> str | None:
    if step.place.gpus > 1 or step.place.sharding != "none":
        return "it starts one process, and the stage is placed on several GPUs"
    return lacks_gpus(step, machine)


LAUNCHER = Launcher("local", command, cannot)
