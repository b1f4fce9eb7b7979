"""Measure the grid into tests/data/oracle.json: `python -m tests.oracle`, some twenty minutes.

python -m tests.oracle            measure every case that is not stored yet
python -m tests.oracle --all      measure all of them again, after a pin or the trainer has moved
python -m tests.oracle --compare  the closed form against what is stored
python -m tests.oracle --record   the constants of a stack record as these versions have them
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.oracle.cases import Case
from tests.oracle.grid import asked, cases

FILE = Path(__file__).parents[1] / "data" / "oracle.json"
PHASES = ("forward", "backward", "optimizer", "generation", "scoring", "update")


def main(arguments: list[str]) -> int:
    warnings.simplefilter("ignore", FutureWarning)
    if "--record" in arguments:
        from tests.oracle import record

        print(record.text())
        return 0
    if "--compare" not in arguments:
        measure({} if "--all" in arguments else stored())
    print("\n".join(compared()))
    return 0


def measure(known: dict[Case, dict[str, int]]) -> None:
    """Measure what is not known, and write after each: a run can be cut short."""
    from tests.oracle.steps import measured

    grid = cases()
    for case in (*grid[::4], *grid[1::4], *grid[2::4], *grid[3::4]):  # some of each kind first
        if case not in known:
            known[case] = peaks_of(measured(case))
            write({each: known[each] for each in grid if each in known})
            print(case.name, known[case], flush=True)


def peaks_of(found: dict[str, dict[str, int]]) -> dict[str, int]:
    return {name: size for name, size in found["peaks"].items() if name in PHASES}


def stored() -> dict[Case, dict[str, int]]:
    """Peaks by phase of each stored case."""
    if not FILE.is_file():
        return {}
    rows = json.loads(FILE.read_text("utf-8"))["cases"]
    return {case_of(row["case"]): row["peaks"] for row in rows}


def case_of(said: dict[str, Any]) -> Case:
    targets = said.get("targets")
    return Case(**{**said, **({"targets": tuple(targets)} if isinstance(targets, list) else {})})


def write(known: dict[Case, dict[str, int]]) -> None:
    import peft
    import torch
    import transformers

    versions = {each.__name__: each.__version__ for each in (torch, transformers, peft)}
    rows = [{"case": changed(case), "peaks": peaks} for case, peaks in known.items()]
    lines = ",\n".join(json.dumps(row) for row in rows)
    FILE.write_text(f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n', "utf-8")


def changed(case: Case) -> dict[str, Any]:
    """The fields of a case that are not the plainest one's."""
    plain = asdict(Case(case.model))
    return {"model": case.model} | {
        name: value for name, value in asdict(case).items() if value != plain[name]
    }


def errors() -> dict[Case, float]:
    """By how much the closed form is off, as a share of what was measured."""
    return {
        case: asked(case).allocated / max(peaks.values()) - 1 for case, peaks in stored().items()
    }


def kind(case: Case) -> str:
    """The group that a case is shown in."""
    if case.model in ("mixtral", "qwen3_moe", "deepseek_v2"):
        return "esft" if case.weights == "experts" else "mixtures"
    return {"sft": "dense"}.get(case.method, case.method)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
