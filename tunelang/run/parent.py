"""Processes that end with the process that started them, also when that one is killed with -9.

    python -m tunelang.run.parent PARENT_PID COMMAND...    becomes COMMAND, tied to its parent

Workers of a launcher such as torchrun call `die_with_parent()` first, since the tie holds for one
generation only. Linux only (prctl); elsewhere it does nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent ends; survives exec.

    `parent` is the pid that should be ours: if it is not any more, the parent ended before the
    tie was made, and this process ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
