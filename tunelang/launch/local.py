"""One process on this machine: the CPU, or one GPU."""

from __future__ import annotations

import sys

from tunelang.launch.launcher import Job, Launcher, unable


def command(job: Job) -> list[str]:
    return [sys.executable, "-m", *job.worker]


LAUNCHER = Launcher("local", command, unable)
