"""`loops.py HOME RANK:UPDATE KEY...`: `several.py` for stages that learn from given rows.

The process of that rank ends itself by SIGKILL in the midst of an update of the last step.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import several

from tunelang.plan.ir import Step
from tunelang.train import loop


def mortal(rank: int, update: int, step: Step) -> None:
    """End this process, if it is the one, when its share of that update (from 1) is computed."""
    plain, seen = loop.backward, 0

    def dying(*given: object) -> float:
        nonlocal seen
        seen += 1
        if seen == update and int(os.environ["RANK"]) == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*given)  # type: ignore[arg-type]

    loop.backward = dying  # type: ignore[assignment]


if __name__ == "__main__":
    several.mortal = mortal
    try:
        several.main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
