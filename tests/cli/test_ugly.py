"""Texts that are no recipes: few findings soon, no traceback, and `fmt` leaves them as they are."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

MANY = 100_000
DRAW = random.Random(0)
UGLY = {
    "two megabytes of noise": bytes(DRAW.randrange(1, 128) for _ in range(2_000_000)),
    "marks": bytes(DRAW.choice(b'abc (){}[]=,.#"$%1234 \n') for _ in range(2_000_000)),
    "random bytes": DRAW.randbytes(2_000_000),
    "deep calls": b"tune 1\nlet x = " + b"f(" * 10_000 + b")" * 10_000,
    "deep lists": b"tune 1\nlet x = " + b"[" * 10_000 + b"]" * 10_000,
    "deep blocks": b"tune 1\n" + b"a { " * 10_000 + b"}" * 10_000,
    "open blocks": b"tune 1\n" + b"a {\n" * 10_000,
    "open brackets": b"tune 1\nlet x = " + b"(" * 10_000,
    "many items": b"tune 1\n" + b"".join(b"let x%d = 1\n" % i for i in range(MANY)),
    "many dots": b"tune 1\nlet x = " + b"a." * MANY + b"a\n",
    "open quote": b'tune 1\nlet x = "' + b"a\n" * 500_000,
    "open text": b'tune 1\nlet x = """' + b"a\n" * 500_000,
    "many mistakes": b"tune 1\n" + b"let = = 3\n" * 50_000,
    "commas": b"tune 1\n" + b"," * 2_000_000,
    "line ends": b"\n" * 2_000_000,
    "another encoding": "tune 1\n".encode("utf-16"),
    "one byte of another encoding": b'tune 1\nlet x = "\xe4"\n',
    "a null byte": b"tune 1\nlet x\0 = 1\n",
    "too many digits": b"tune 1\nlet x = %s\nparam y: int = 1\n" % (b"9" * 5_000),
    "too large an exponent": b"tune 1\nstage a: sft { seed = 1e999999999 }\n",
}
FEW = 120  # lines that a person may be shown; a capped file has 100 findings at most


@pytest.mark.parametrize("name", UGLY)
def test_check_ends_soon(name: str, tmp_path: Path) -> None:
    """Within seconds on a busy machine; none of them ran for more than one on a quiet one."""
    path = tmp_path / "ugly.tune"
    path.write_bytes(UGLY[name])
    done = run("check", "--output", "concise", str(path))
    assert done.returncode in (0, 1) and "Traceback" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) <= FEW
    assert "error[" in done.stdout or name == "too many digits"


@pytest.mark.parametrize("name", ["two megabytes of noise", "marks", "random bytes", "line ends"])
def test_fmt_leaves_it(name: str, tmp_path: Path) -> None:
    """What cannot be understood is not rewritten."""
    path = tmp_path / "ugly.tune"
    path.write_bytes(UGLY[name])
    run("fmt", str(path))
    assert path.read_bytes() == UGLY[name]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
