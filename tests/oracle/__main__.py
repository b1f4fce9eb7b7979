"""What our own trainer code really keeps in memory, measured without memory.

`python -m tests.oracle` writes the grid to tests/data/oracle.json, ten minutes on a quiet core:

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
from typing import Any

from tests.oracle.cases import Case
from tests.oracle.compared import FILE, PHASES, compared, stored
from tests.oracle.grid import cases


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
