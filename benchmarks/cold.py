"""How long commands take as whole processes, as a ratio to an empty Python started beside them.

    python benchmarks/cold.py

Each command is run in turn with `python -c pass`, so that both meet the same machine; the medians
are compared. Times are for reading, never for a test.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
ROUNDS = 11
COMMANDS = {
    "tunelang --help": ["--help"],
    "tunelang check, 141 lines": ["check", "tests/samples/clinic.tune"],
    "tunelang check, llama-8b-rlhf": ["check", "recipes/llama-8b-rlhf.tune"],
    "tunelang plan, llama-8b-rlhf": ["plan", "recipes/llama-8b-rlhf.tune"],
    "tunelang fmt --check, 141 lines": ["fmt", "--check", "tests/samples/clinic.tune"],
}


# Users have compiled modules; a shell that forbids writing them would measure the compiler.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, **quiet)
    return time.perf_counter() - start


def main() -> None:
    """A line a command: median seconds, and times an empty Python."""
    for name, words in COMMANDS.items():
        command = [sys.executable, "-m", "tunelang", *words]
        seconds(command)  # the first run fills caches
        pairs = [(seconds([sys.executable, "-c", "pass"]), seconds(command)) for _ in range(ROUNDS)]
        empty, ours = (median(column) for column in zip(*pairs, strict=True))
        print(f"{name:34} {ours:6.3f} s   {ours / empty:5.1f} x python -c pass ({empty:.3f} s)")


if __name__ == "__main__":
    main()
