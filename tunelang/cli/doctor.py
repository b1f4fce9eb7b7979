"""`tunelang doctor`: what this machine has, what is missing, and the command that mends it.

Imports no training library and asks no network.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from tunelang.launch.machine import Machine

PYTHONS = ((3, 11), (3, 14))  # requires-python of pyproject.toml: from the first, below the second
LEAST_DISK = 5 * 10**9  # bytes; a 135M model with its checkpoints takes about 2 GB
FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16"})
OPTIONAL = {"quant": "QLoRA and 8-bit optimizers", "deepspeed": "several GPUs with ZeRO"}
MARKS = {"good": ("✓", "green"), "fact": (" ", ""), "warn": ("!", "yellow"), "bad": ("✗", "red")}


@dataclass(frozen=True)
class Finding:
    """One line: a `bad` one keeps `tunelang run` from training."""

    state: Literal["good", "fact", "warn", "bad"]
    name: str
    text: str
    mend: str = ""


def doctor() -> None:
    """Say what this machine can run, and what mends it."""
    from rich.console import Console
    from rich.table import Table

    found = list(examine())
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for finding in found:
        table.add_row(_mark(finding.state), finding.name, finding.text)
    console = Console(highlight=False)
    console.print(table)
    for mend in dict.fromkeys(finding.mend for finding in found if finding.mend):
        console.print(f"  mend: {mend}", markup=False, soft_wrap=True)
    trains = all(finding.state != "bad" for finding in found)
    console.print("This machine can train." if trains else "This machine cannot train yet.")
    raise typer.Exit(0 if trains else 1)


def examine() -> Iterator[Finding]:
    """Everything there is to say, in the order it is shown."""
    from tunelang.launch.machine import probe

    machine = probe()
    yield _python()
    yield from _hardware(machine)
    yield from _home()
    yield from _libraries()
    yield _hub()


def _python() -> Finding:
    text = f"{platform.python_version()} ({sys.executable})"
    least, below = PYTHONS
    if least <= sys.version_info[:2] < below:
        return Finding("good", "Python", text)
    wanted = f"{least[0]}.{least[1]} to {below[0]}.{below[1] - 1}"
    return Finding("bad", "Python", text, f"install Python {wanted}")


def _hardware(machine: Machine) -> Iterator[Finding]:
    from tunelang.run.amounts import size

    bf16 = "fast bf16" if machine.flags & FAST_BF16 else "bf16 in software, so fp32 is as fast"
    yield Finding("fact", "CPU", f"{machine.processor}, {machine.cores} cores, {bf16}")
    yield Finding("fact", "memory", size(machine.memory))
    if not machine.gpus:
        yield Finding("fact", "GPU", "none; small models train on the CPU")
    for gpu in machine.gpus:
        yield Finding("good", "GPU", f"{gpu.name}, {size(gpu.memory)}, driver {gpu.driver}")


def _home() -> Iterator[Finding]:
    from tunelang.run.amounts import size
    from tunelang.run.store import default_home

    home = default_home()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    chosen = "TUNELANG_HOME" if os.environ.get("TUNELANG_HOME") else "default"
    if not os.access(there, os.W_OK):
        mend = "export TUNELANG_HOME=FOLDER, a folder you may write to"
        yield Finding("bad", "home", f"{home} ({chosen}) cannot be written", mend)
        return
    free = shutil.disk_usage(there).free
    text = f"{home} ({chosen}), {size(free)} free"
    mend = "free some disk, or export TUNELANG_HOME=FOLDER on a larger one"
    tight = free < LEAST_DISK
    yield Finding("warn" if tight else "good", "home", text, mend if tight else "")


def _libraries() -> Iterator[Finding]:
    """Those of `train` must be there; another version than supported is a warning."""
    from tunelang.launch.libraries import libraries
    from tunelang.run.refusal import install

    for library in libraries("train"):
        mend = "" if library.fits else install([library])
        if library.found is None:
            yield Finding("bad", library.name, f"not installed ({library.supported})", mend)
        else:
            text = f"{library.found} ({library.supported})"
            yield Finding("good" if library.fits else "warn", library.name, text, mend)
    for extra, use in OPTIONAL.items():
        for library in libraries(extra):
            yield _optional(library.name, library.found, f"{use} ({library.supported})")
    if any(library.found for library in libraries("deepspeed")):
        yield from _compiler()


def _optional(name: str, found: str | None, use: str) -> Finding:
    if found is None:
        return Finding("fact", name, f"not installed; for {use}")
    return Finding("good", name, f"{found}; for {use}")


def _compiler() -> Iterator[Finding]:
    """DeepSpeed compiles its kernels when it first runs."""
    missing = [tool for tool in ("g++", "ninja") if not shutil.which(tool)]
    if missing:
        text = f"DeepSpeed compiles at its first run and finds no {' and no '.join(missing)}"
        yield Finding("warn", "compiler", text, f"install {' and '.join(missing)}")


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return Finding("fact", "hub", "offline: HF_HUB_OFFLINE is set; downloaded models work")
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Finding("fact", "hub", f"asked only with your consent; downloads are kept in {cache}")


def _mark(state: str) -> Text:
    from rich.text import Text

    sign, style = MARKS[state]
    return Text(sign, style=style)
