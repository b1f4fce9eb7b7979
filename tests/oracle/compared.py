"""The stored grid against the closed form; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.oracle.cases import Case
from tests.oracle.grid import MIXTURES, asked

FILE = Path(__file__).parents[1] / "data" / "oracle.json"
PHASES = ("forward", "backward", "optimizer", "generation", "scoring", "update")


def stored() -> dict[Case, dict[str, int]]:
    """Peaks by phase of each stored case."""
    if not FILE.is_file():
        return {}
    rows = json.loads(FILE.read_text("utf-8"))["cases"]
    return {case_of(row["case"]): row["peaks"] for row in rows}


def case_of(said: dict[str, Any]) -> Case:
    targets = said.get("targets")
    return Case(**{**said, **({"targets": tuple(targets)} if isinstance(targets, list) else {})})


def errors() -> dict[Case, float]:
    """By how much the closed form is off, as a share of what was measured."""
    return {
        case: asked(case).allocated / max(peaks.values()) - 1 for case, peaks in stored().items()
    }


def kind(case: Case) -> str:
    """The group that a case is shown in."""
    if case.model in MIXTURES:
        return "esft" if case.weights == "experts" else "mixtures"
    return {"sft": "dense"}.get(case.method, case.method)


def grouped() -> Iterator[tuple[str, float]]:
    """The group and the signed error of each case."""
    return ((kind(case), off) for case, off in errors().items())


def compared() -> list[str]:
    """Median, ninth decile and worst error of each group, and of all."""
    found = errors()
    groups: dict[str, list[float]] = {}
    for case, off in found.items():
        groups.setdefault(kind(case), []).append(abs(off))
    lines = [line(name, sorted(values)) for name, values in groups.items()]
    return [*lines, line("all", sorted(map(abs, found.values())))]


def line(name: str, values: list[float]) -> str:
    most = values[min(len(values) - 1, int(0.9 * len(values)))]
    shares = f"median {median(values):6.2%}  p90 {most:6.2%}  worst {values[-1]:6.2%}"
    return f"{name:10} {len(values):4} cases  {shares}"
