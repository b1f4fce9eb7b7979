"""How long commands take as whole processes, beside an empty Python started between them.

    python benchmarks/cold.py [WORDS OF A NAME]

Each command is run in turn with `python -c pass`, so that both meet the same machine; medians are
compared. `wall` is what a person waits, `cpu` is user and system time of all its processes, which
other work on the machine hardly changes; the ratio is of cpu. Times are for reading, never for a
test. docs/benchmarks.md holds the last results.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "tests" / "samples" / "clinic.tune"
ROUNDS = 11
EMPTY = [sys.executable, "-c", "pass"]
MANY = 100  # recipes in one call
LONG = 10_000  # lines in one file
FOLDER = 300  # recipes in a folder to format: enough to pay for a second process
# name -> words; names in capitals are inputs that are made here
ONE, MORE = "check, 141 lines", f"check, {MANY} times 141 lines"
COMMANDS = {
    "--help": ["--help"],
    ONE: ["check", str(SAMPLE)],
    "check, llama-8b-rlhf": ["check", "recipes/llama-8b-rlhf.tune"],
    MORE: ["check", "MANY"],
    "plan, llama-8b-rlhf": ["plan", "recipes/llama-8b-rlhf.tune"],
    "show, 141 lines": ["show", str(SAMPLE)],
    "fmt --check, 141 lines": ["fmt", "--check", str(SAMPLE)],
    f"fmt --check, {LONG:,} lines": ["fmt", "--check", "LONG"],
    f"fmt --check, {FOLDER} times 141 lines": ["fmt", "--check", "FOLDER"],
}
# Users have compiled modules; a shell that forbids writing them would measure the compiler.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
Times = tuple[float, float]  # wall, cpu


def seconds(command: Sequence[str]) -> Times:
    """Wall and cpu seconds of one run."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, **quiet)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def inputs(folder: Path) -> dict[str, str]:
    """Recipes with different texts, so that nothing is remembered from one to the next."""
    text = SAMPLE.read_text("utf-8")
    places = {"MANY": folder / "many", "FOLDER": folder / "folder", "LONG": folder / "long.tune"}
    for name, count in (("MANY", MANY), ("FOLDER", FOLDER)):
        places[name].mkdir()
        for number in range(count):
            (places[name] / f"{number}.tune").write_text(f"{text}let own = {number}\n")
    head, *body = text.splitlines(keepends=True)
    lines = body * (LONG // len(body) + 1)
    places["LONG"].write_text("".join([head, *lines[: LONG - 1]]))
    return {name: str(place) for name, place in places.items()}


def measured(words: Sequence[str]) -> tuple[Times, Times]:
    """Medians of an empty Python and of a command, run in turn."""
    command = [sys.executable, "-m", "tunelang", *words]
    seconds(command)  # the first run fills caches
    pairs = [(seconds(EMPTY), seconds(command)) for _ in range(ROUNDS)]
    empty, ours = zip(*pairs, strict=True)
    return _median(empty), _median(ours)


def _median(times: Sequence[Times]) -> Times:
    wall, cpu = zip(*times, strict=True)
    return median(wall), median(cpu)


def main() -> None:
    """A line a command, and what one more recipe costs in a call that checks many."""
    found: dict[str, Times] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = inputs(Path(folder))
        for name, words in COMMANDS.items():
            if not all(word in name for word in sys.argv[1:]):
                continue
            empty, (wall, cpu) = measured([made.get(word, word) for word in words])
            found[name] = wall, cpu
            ratio = f"{cpu / empty[1]:6.1f} x python -c pass ({empty[1]:.3f} s)"
            print(f"{name:34} wall {wall:6.3f} s  cpu {cpu:6.3f} s {ratio}", flush=True)
    if ONE in found and MORE in found:
        wall, cpu = (
            (more - one) / (MANY - 1) for one, more in zip(found[ONE], found[MORE], strict=True)
        )
        print(f"{'each recipe after the first':34} wall {wall:6.3f} s  cpu {cpu:6.3f} s")


if __name__ == "__main__":
    main()
