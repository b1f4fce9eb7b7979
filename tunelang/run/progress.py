"""Shows a run while it runs: bars on a terminal, a line every few seconds anywhere else.

One line a step: bar, steps done, metrics, seconds a step, time left. It only reads events.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from tunelang import metrics as vocabulary
from tunelang.run.amounts import duration
from tunelang.run.events import Event
from tunelang.run.gates import value

EVERY = 5.0  # seconds between plain lines
RECENT = 20  # progress events that the pace is taken from
SHOWN = 3  # metrics in a line
WORDS = {"reused": "reused", "run": "done", "failed": "failed", "stopped": "stopped"}


class Display(Protocol):
    """What `execute` tells while it works."""

    def start(self, names: list[str]) -> None: ...
    def begin(self, name: str, how: str) -> None: ...
    def event(self, name: str, event: Event) -> None: ...
    def end(self, name: str, state: str, seconds: float) -> None: ...
    def say(self, text: str) -> None: ...
    def stop(self) -> None: ...
    def where(self, name: str) -> str: ...


@dataclass
class Pace:
    """How fast a step goes: steps done, and seconds a step over the last few events."""

    at: int = 0
    of: int = 0
    metrics: str = ""
    marks: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def add(self, at: int, of: int, now: float) -> None:
        """A resume goes back, so the marks before it count no more."""
        if self.marks and at <= self.marks[-1][0]:
            self.marks.clear()
        self.at, self.of = at, of
        self.marks.append((at, now))

    @property
    def each(self) -> float | None:
        """Seconds a step."""
        if len(self.marks) < 2:
            return None
        (first, then), (last, now) = self.marks[0], self.marks[-1]
        return (now - then) / (last - first)

    def __str__(self) -> str:
        each = self.each
        words = [self.metrics]
        if each is not None:
            words += [f"{each:.3g} s/step", f"{duration(each * (self.of - self.at))} left"]
        return "  ".join(word for word in words if word)


def display(console: Console, *, plain: bool) -> Display:
    """Bars on a terminal, unless plain lines are asked for."""
    return Lines(console) if plain or not console.is_terminal else Bars(console)


class Lines:
    """Plain lines: when a step begins and ends, what it is doing, and how far it is."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.paces: dict[str, Pace] = {}
        self.last = 0.0

    def start(self, names: list[str]) -> None:
        self.paces = {name: Pace() for name in names}

    def begin(self, name: str, how: str) -> None:
        self._line(name, f"starting {how}".rstrip())

    def event(self, name: str, event: Event) -> None:
        pace = self.paces[name]
        _advance(pace, event)
        if event["event"] == "progress":
            if time.monotonic() - self.last >= EVERY or pace.at == pace.of:
                self._line(name, f"{pace.at}/{pace.of}  {pace}")
        elif text := remark(event):
            self._line(name, text)

    def end(self, name: str, state: str, seconds: float) -> None:
        took = f" in {duration(seconds)}" if state == "run" and seconds else ""
        self._line(name, WORDS[state] + took)

    def say(self, text: str) -> None:
        say(self.console, text)

    def stop(self) -> None:
        """Nothing to take down."""

    def where(self, name: str) -> str:
        return where(self.paces[name])

    def _line(self, name: str, text: str) -> None:
        self.last = time.monotonic()
        width = max(map(len, self.paces), default=0)
        say(self.console, f"{name:<{width}}  {text}")


class Told(TextColumn):
    """What gives way where a terminal is narrow: it is cut at its end, and names and bars stay."""

    def __init__(self, form: str) -> None:
        super().__init__(form, table_column=Column())

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class Bars:
    """One live line a step, remarks above them."""

    def __init__(self, console: Console) -> None:
        self.paces: dict[str, Pace] = {}
        self.tasks: dict[str, TaskID] = {}
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            Told("{task.fields[text]}"),
            console=console,
        )

    def start(self, names: list[str]) -> None:
        self.paces = {name: Pace() for name in names}
        for name in names:
            self.tasks[name] = self.bars.add_task(name, total=1, count="", text="")
        self.bars.start()

    def begin(self, name: str, how: str) -> None:
        self._show(name, text=f"starting {how}".rstrip(), total=None)

    def event(self, name: str, event: Event) -> None:
        pace = self.paces[name]
        _advance(pace, event)
        if event["event"] == "progress":
            counts = {"total": pace.of, "completed": pace.at}
            self._show(name, count=f"{pace.at}/{pace.of}", text=str(pace), **counts)
        elif event["event"] == "phase":
            self._show(name, text=event["text"])
        elif text := remark(event):
            self.say(f"{name}: {text}")

    def end(self, name: str, state: str, seconds: float) -> None:
        took = f" in {duration(seconds)}" if state == "run" and seconds else ""
        if state in ("run", "reused"):
            self._show(name, total=1, completed=1)
        self._show(name, text=WORDS[state] + took)
        self.bars.stop_task(self.tasks[name])

    def say(self, text: str) -> None:
        say(self.console, text)

    def stop(self) -> None:
        self.bars.stop()

    def where(self, name: str) -> str:
        return where(self.paces[name])

    def _show(self, name: str, **fields: object) -> None:
        self.bars.update(self.tasks[name], **fields)  # type: ignore[arg-type]


def where(pace: Pace) -> str:
    """How far a step got, for the message when it is stopped."""
    return f"at step {pace.at} of {pace.of}" if pace.of else "before its first step"


def figures(metrics: Mapping[str, float]) -> str:
    """The metrics that people watch, the vocabulary's first: `loss 1.23  kl 0.02`."""
    known = [name for name in vocabulary.METRICS if name in metrics]
    return "  ".join(f"{name} {value(name, metrics[name])}" for name in known[:SHOWN])


def apart(metrics: Mapping[str, float]) -> str:
    """The loss of each task that is measured on its own: `; law.hold_out 1.23, code.hold_out 2`."""
    tasks = [name for name in metrics if name.startswith("loss(")]
    told = ", ".join(f"{name[5:-1]} {value('loss', metrics[name])}" for name in tasks)
    return f"; loss of {told}" if told else ""


def remark(event: Event) -> str:
    """The line an event is worth, beside progress; empty for those that only go to the journal."""
    match event["event"]:
        case "start":
            resumed = event["resumed_at"]
            return f"goes on from step {resumed}" if resumed else ""
        case "phase" | "note":
            return event["text"]
        case "warning":
            return f"warning: {event['text']}"
        case "measure":
            told = figures(event["metrics"])
            where = event.get("on", "held-out rows")
            return f"{event['when']}: {told} on {where}{apart(event['metrics'])}" if told else ""
        case "check":
            return "" if event["ok"] else f"check {event['name']} failed: {event['value']:g}"
    return ""


def _advance(pace: Pace, event: Event) -> None:
    """A checkpoint is how far a step got, though no progress was told since the last second."""
    if event["event"] == "checkpoint":
        pace.at = event["at"]
    if event["event"] == "progress":
        pace.add(event["at"], event["of"], event.get("time", time.time()))
        pace.metrics = figures(event["metrics"])


def say(console: Console, text: str) -> None:
    """A line stays one in a file; a terminal breaks it between words."""
    console.print(Text(text), soft_wrap=not console.is_terminal)
