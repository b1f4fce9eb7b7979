"""P21 for ppo, grpo and rloo: killed inside an iteration, they end in the very same bits.

Seen to fail: with the KL coefficient left out of the checkpoint; with prompts drawn from the first
again; with the value model's optimizer left out; with the texts of `pretraining` counted from the
start of the process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from policies import dying, make_judge, step_of
from workshop import Shop, instructions, part, texts

from tunelang.plan.ir import Step
from tunelang.train import optimise

TEXTS = part("text", texts(), name="texts", hold_out=None)
ANSWERS = {"reward": {"kind": "exact_match", "after": "", "case": True}}
LENGTH = {"reward": {"kind": "length", "target": 4.0}}
CASES: dict[str, dict[str, Any]] = {
    "ppo lora": {},
    "ppo full": {"weights": "full", "lr": 1e-4},
    "ppo bf16": {"precision": "bf16"},
    "ppo texts": {"pretraining": TEXTS},
    "grpo judge": {"method": "grpo"},
    "grpo answers": {"method": "grpo", "fields": ANSWERS, "data": part("instruct", instructions())},
    "rloo length": {"method": "rloo", "fields": LENGTH, "weights": "full", "lr": 1e-4},
}
OPTIMIZERS = {"ppo": 2, "grpo": 1, "rloo": 1}
UPDATE = 3 * 4 + 2  # iterations of 2 passes of 2 updates: in the midst of the fourth


class Killed(Exception):
    """What stops the run in the middle."""


def steps_of(name: str) -> tuple[Step, Step]:
    return step_of("straight", **CASES[name]), step_of("broken", **CASES[name])


def same(shop: Shop) -> None:
    """Weights, metrics and the numbers of every iteration are equal bit for bit."""
    assert shop.weights("broken") == shop.weights("straight")
    read = [
        json.loads((shop.store.object(key) / "metrics.json").read_text())
        for key in ("straight", "broken")
    ]
    assert read[0] == read[1]
    assert len({point["kl_coefficient"] for point in read[0]["series"]}) > 1


@pytest.mark.parametrize("name", list(CASES))
def test_killed_inside_an_iteration(shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Between two updates on one rollout: the checkpoint before it leads to the same end."""
    make_judge(shop)
    straight, broken = steps_of(name)
    shop.run(straight)

    def end() -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(optimise, "update", dying(UPDATE * OPTIMIZERS[broken.method], end))
        shop.run(broken)
    found = shop.job(broken).resume
    assert found is not None
    assert found.at == 2
    shop.run(broken)
    same(shop)


def test_kill_9_inside_an_iteration(shop: Shop) -> None:
    """The worker as a process of its own, ended by SIGKILL in its fourth iteration."""
    make_judge(shop)
    straight, broken = steps_of("ppo lora")
    shop.run(straight)
    path = shop.home / "broken.json"
    path.write_text(broken.model_dump_json())
    program = (
        "import os, signal, sys\n"
        "sys.modules['bitsandbytes'] = None  # as the worker does, before peft looks for it\n"
        "from policies import dying, optimise\n"
        "from tunelang.train.__main__ import main\n"
        f"optimise.update = dying({2 * UPDATE}, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        f"sys.argv = ['train', {str(path)!r}, '--home', {str(shop.home)!r}]\n"
        "sys.exit(main())\n"
    )
    here = str(Path(__file__).parent)
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    killed = subprocess.run([sys.executable, "-c", program], env=alone, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    found = shop.job(broken).resume
    assert found is not None
    assert found.at == 2
    shop.run(broken)
    same(shop)
