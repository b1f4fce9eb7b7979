"""What came of a run and of each of its steps: values for closing table, journal and exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tunelang.diagnostic import Diagnostic
from tunelang.plan.ir import Step
from tunelang.run.gates import Verdict

State = Literal["reused", "run", "failed", "stopped"]
INTERRUPTED = 130  # 128 + SIGINT, as shells count


@dataclass(frozen=True)
class Result:
    """One step: what was done and, when its object exists, what was measured.

    `seconds` and `peak_bytes` are those of the run that made the object.
    """

    step: Step
    state: State
    seconds: float = 0.0
    peak_bytes: int = 0
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The whole run. `exit_code` is 0, 1 (a diagnostic says why) or 130 (stopped by the user).

    `left` says what becomes of jobs that go on without being followed.
    """

    exit_code: int
    results: tuple[Result, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    stopped_at: str = ""
    journal: Path | None = None
    left: str = ""
