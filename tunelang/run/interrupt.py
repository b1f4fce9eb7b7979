"""Ctrl-C and SIGTERM as a value that loops look at, so that nothing is cut in the middle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 3  # signals after which the user means now


class Interrupt:
    """How often the user asked to stop."""

    def __init__(self) -> None:
        self.count = 0

    def receive(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count >= PATIENCE:
            raise KeyboardInterrupt


@contextmanager
def watched() -> Iterator[Interrupt]:
    """Count signals for the block; the old handlers come back after it."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, interrupt.receive) for number in SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
