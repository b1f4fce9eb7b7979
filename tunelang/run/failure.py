"""From how a worker ended to the one diagnostic that tells the user."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
from collections.abc import Iterable

from tunelang.diagnostic import Diagnostic, Severity, error
from tunelang.plan.ir import Step
from tunelang.run.amounts import size
from tunelang.run.events import Failed
from tunelang.run.place import line_label
from tunelang.run.worker import Ending

SHOWN = 6  # lines of the log in a message
READ = 20_000  # bytes of the log's end that are looked at
LITTLE = 1 << 20  # bytes; on a disk this full the log itself may say nothing
MEMORY = ("out of memory", "can't allocate memory", "MemoryError", "bad_alloc")
DISK = ("No space left on device", "Disk quota exceeded", "No space left")

# torch/distributed/elastic/multiprocessing: errors/__init__.py, `ChildFailedError`, and api.py.
ROOT = re.compile(r"Root Cause.*?rank +: (?P<rank>\d+).*?exitcode +: (?P<code>-?\d+)", re.DOTALL)
AGENT = re.compile(r"[A-Z]\d{4} .*torch/distributed/elastic/multiprocessing/")
MARKED = re.compile(r"\[rank\d+\]:")


def diagnostic(step: Step, ending: Ending, memory: int) -> Diagnostic:
    """A user's mistake as the worker told it, else a crash with the end of its log."""
    if ending.failed is not None:
        return _mistake(ending.failed)
    code, who, lines = _first(step, ending)
    text = "\n".join(lines)
    if any(sign in text for sign in DISK) or shutil.disk_usage(ending.log.parent).free < LITTLE:
        return _disk(step, ending)
    said = "".join(f"\n  | {line}" for line in lines) or "\n  | (it wrote nothing)"
    message = f"{who} of stage `{step.name}` {_manner(code)}; its last lines were{said}"
    return error(
        "TL723",
        "worker-crashed",
        message,
        None,
        help=f"{_advice(step, code, text, memory)}the whole log is {ending.log}",
    )


def _first(step: Step, ending: Ending) -> tuple[int, str, list[str]]:
    """How the first of a step's processes ended, what to call it, and the last that it wrote.

    torchrun ends with 1 whatever came of them, and tells it under "Root Cause"; torch marks what
    each prints as it fails. Those that ended because of the first say nothing of why.
    """
    text = _log(ending)
    cause = ROOT.search(text)
    if step.place.processes == 1 or cause is None:
        return ending.code, "the worker", last_lines(ending)
    lines, mark = text.splitlines(), f"[rank{cause['rank']}]:"
    own = [line.removeprefix(mark) for line in lines if line.startswith(mark)]
    if not own:
        before = itertools.takewhile(lambda line: not AGENT.match(line), lines)
        own = [line for line in before if not MARKED.match(line)]
    return int(cause["code"]), f"process {cause['rank']}", _last(own)


def _mistake(failed: Failed) -> Diagnostic:
    path, line = failed.get("file"), failed.get("line")
    at = line_label(path, line, "here") if path and line else None
    where = f" ({path}{f':{line}' if line else ''})" if path and at is None else ""
    return Diagnostic(
        failed["code"],
        failed["name"],
        Severity.ERROR,
        failed["message"] + where,
        at,
        help=failed.get("help") or "",
    )


def _disk(step: Step, ending: Ending) -> Diagnostic:
    return error(
        "TL711",
        "disk-too-small",
        f"stage `{step.name}` cannot go on: no room is left on the disk of {ending.log.parent}",
        None,
        help="free some room (`tunelang store gc RECIPES` keeps what these need); the same command "
        f"goes on from the last checkpoint; the whole log is {ending.log}",
    )


def _manner(code: int) -> str:
    if code == 0:
        return "ended without a product"
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _advice(step: Step, code: int, text: str, memory: int) -> str:
    """What is likely when memory is to blame; the kernel's killer leaves no other trace."""
    told = any(sign.lower() in text.lower() for sign in MEMORY)
    on = "the same command goes on from the last checkpoint; "
    if code != -signal.SIGKILL and not told:
        return on
    cause = "it ran out of memory" if told else "most likely the system ran out of memory"
    predicted = f", {size(step.estimate.peak)} were predicted" if step.estimate else ""
    return f"{cause} ({size(memory)} here{predicted}): try a smaller `micro` or `length`; {on}"


def last_lines(ending: Ending) -> list[str]:
    """The last lines of this worker's log that say something."""
    return _last(_log(ending).splitlines())


def _log(ending: Ending) -> str:
    """The end of this worker's log."""
    if not ending.log.exists():
        return ""
    with ending.log.open("rb") as file:
        start = max(ending.log_start, ending.log.stat().st_size - READ)
        file.seek(start)
        return file.read().decode("utf-8", "replace")


def _last(lines: Iterable[str]) -> list[str]:
    return [line.rstrip()[:200] for line in lines if _telling(line)][-SHOWN:]


def _telling(line: str) -> bool:
    """Not empty, not a warning, not the marks or the import machinery of a traceback."""
    stripped = line.strip()
    noise = "Warning:" in stripped or "<frozen " in stripped
    return bool(stripped.strip("^~ ")) and not noise
