"""Executes a plan with the fake worker in a process of its own, to be killed from outside.

    python -m tests.run.driver HOME PLAN.json [N]

With N it kills itself with SIGKILL just before its Nth operation that makes something durable:
the exhaustive version of pulling the plug.
"""

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

from rich.console import Console

from tunelang.plan.ir import Plan
from tunelang.run import execute as page
from tunelang.run.progress import display
from tunelang.run.store import Store


def mortal(last: int) -> None:
    """Wrap what changes the disk: the Nth call does not come."""
    calls = count(1)

    def wrap(holder: object, name: str) -> None:
        original = getattr(holder, name)

        def counted(*given: object, **named: object) -> object:
            if next(calls) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given, **named)

        setattr(holder, name, counted)

    for holder, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (shutil, "rmtree")):
        wrap(holder, name)


def main() -> int:
    home, plan = Path(sys.argv[1]), Plan.model_validate_json(Path(sys.argv[2]).read_text())
    page.refusals = lambda *_: []  # the fake worker needs no torch
    if len(sys.argv) > 3:
        mortal(int(sys.argv[3]))
    settings = page.Settings(module="tests.run.fake_worker")
    shown = display(Console(), plain=True)
    outcome = page.execute(plan, Store(home), display=shown, settings=settings)
    for diagnostic in outcome.diagnostics:
        print(diagnostic.code, diagnostic.name, diagnostic.message)
    if outcome.exit_code == 130:
        print("stopped", outcome.stopped_at)
    print("states", *(result.state for result in outcome.results))
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
