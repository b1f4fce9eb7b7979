"""Calling the program of a scheduler."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunelang.diagnostic import error
from tunelang.launch.scheduler import Refused
from tunelang.plan.ir import Step

PATIENCE = 120  # seconds that an answer may take


def call(
    command: Sequence[str],
    *,
    asked: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What a program prints. Raises `Refused` with what it complains of; `asked` says what for."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(environment) if environment is not None else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise _refused(asked, str(problem)) from problem
    if done.returncode != 0:
        raise _refused(asked, done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


def hand_in(step: Step) -> str:
    return f"take the job of stage `{step.name}`"


def _refused(asked: str, said: str) -> Refused:
    help = "jobs that were handed in go on; the same command tries again and follows them"
    return Refused(
        error("TL727", "job-refused", f"the scheduler does not {asked}: {said}", None, help=help)
    )
