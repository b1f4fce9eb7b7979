"""What came of a step: its object's figures, its gates, and what its manifest says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tunelang.plan.ir import Step
from tunelang.run.events import Done, Event, Start
from tunelang.run.gates import findings, judge
from tunelang.run.outcome import Result, State
from tunelang.run.state import Run


def result(run: Run, step: Step, state: State) -> Result:
    """Of a step whose object exists."""
    manifest = run.store.manifest(step.key)
    path = run.store.object(step.key) / "metrics.json"
    metrics = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return Result(
        step,
        state,
        manifest.get("seconds", 0.0),
        manifest.get("peak_bytes", 0),
        metrics.get("before", {}),
        metrics.get("after", {}),
    )


def judged(run: Run, result: Result) -> Result:
    """With its gates held against what was measured; also when it is reused."""
    run.journal.end(result.step, result.state, result.seconds, result.peak_bytes)
    if result.state in ("failed", "stopped"):
        return result
    verdicts = judge(result.step, result.after)
    run.journal.gates(result.step, verdicts)
    run.told.extend(findings(result.step, verdicts))
    return replace(result, verdicts=tuple(verdicts))


def manifest(step: Step, events: list[Event]) -> dict[str, Any]:
    """What the manifest says beside the files: provenance, and what making it took."""
    starts: list[Start] = [event for event in events if event["event"] == "start"]
    dones: list[Done] = [event for event in events if event["event"] == "done"]
    return {
        "step": step.name,
        "method": step.method,
        "product": step.product,
        "stack": starts[-1]["stack"] if starts else step.stack,
        "place": step.place.model_dump(mode="json"),
        "seconds": earlier(events) + (dones[-1]["seconds"] if dones else 0.0),
        "peak_bytes": dones[-1]["peak_bytes"] if dones else 0,
    }


def earlier(events: list[Event]) -> float:
    """Seconds of the attempts before the last one: from each start to the last step it told of."""
    spent, began, last = 0.0, 0.0, 0.0
    for event in events:
        when = event.get("time", 0.0)
        if event["event"] == "start":
            spent += last - began
            began = last = when
        elif event["event"] in ("progress", "measure", "checkpoint"):
            last = when
    return spent
