"""The same for many files, by several processes where that pays."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def of_each(
    paths: Sequence[Path], each: Callable[[Path], Result], worth_a_process: int
) -> list[Result]:
    """Results in the order of the paths; `worth_a_process` is bytes of text."""
    size = sum(path.stat().st_size for path in paths if path.is_file())
    processes = min(os.cpu_count() or 1, len(paths) - 1, size // worth_a_process)
    if processes < 2 or not hasattr(os, "fork"):
        return [each(path) for path in paths]
    return _forked(paths, each, processes)


def _forked(paths: Sequence[Path], each: Callable[[Path], Result], processes: int) -> list[Result]:
    """Forked behind the first file, so that what it imported and read is there for all."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from signal import SIG_IGN, SIGINT, signal

    first, rest = each(paths[0]), paths[1:]
    context = multiprocessing.get_context("fork")
    share = max(1, len(rest) // (4 * processes))  # files differ in size: four rounds even it out
    with ProcessPoolExecutor(processes, context, signal, (SIGINT, SIG_IGN)) as pool:
        return [first, *pool.map(each, rest, chunksize=share)]
