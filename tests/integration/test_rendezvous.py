"""Two hosts that see each other over a network of their own, as namespaces of one machine, run
one stage together: torchrun meets over the addresses inside, and the weights are those of one host.

Needs root. No address outside the two namespaces is used: they have no way out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunelang.run.store import Store

ROOT = Path(__file__).parents[2]
LIMIT = 200.0  # seconds
HOSTS = ("10.77.0.1", "10.77.0.2")
RECIPE = f"""\
tune 1

hardware pair {{
  cores = 2
  nodes = 2
  launcher = torchrun
}}

model seedling = scratch(
  tokenizer = ["{ROOT}/recipes/data/texts.jsonl"],
  hidden = 64,
  layers = 2,
  vocabulary = 512,
  positions = 256,
  seed = 7,
)

data handbook = files("{ROOT}/recipes/data/texts.jsonl", limit = 64 rows, hold_out = 8 rows)

stage domain: domain_adaptation {{
  model = seedling
  data = handbook
  train = 6 steps
  batch = 8 sequences
  lr = 5e-3
  seed = 7
  precision = fp32
  length = 160 tokens
  on = pair
}}
"""


def ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


def impossible() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return "needs root and `ip`"
    if not ip("netns", "add", "tunelang-try"):
        return "network namespaces are not allowed here"
    ip("netns", "delete", "tunelang-try")
    return ""


pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(impossible()), reason=f"no two hosts: {impossible()}"),
]


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """The names of two namespaces with a wire between them."""
    names = tuple(f"tunelang-{os.getpid()}-{number}" for number in (0, 1))
    try:
        for name in names:
            assert ip("netns", "add", name)
        ends = [f"veth{number}" for number in (0, 1)]
        assert ip("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name",
                  ends[1], "netns", names[1])  # fmt: skip
        for name, end, address in zip(names, ends, HOSTS, strict=True):
            assert ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            assert ip("-n", name, "link", "set", end, "up")
            assert ip("-n", name, "link", "set", "lo", "up")
        yield names[0], names[1]
    finally:
        for name in names:
            ip("netns", "delete", name)


def tunelang(home: Path, *words: str, within: str = "") -> subprocess.Popen[str]:
    inside = ["ip", "netns", "exec", within] if within else []
    return subprocess.Popen(
        [*inside, sys.executable, "-m", "tunelang", *words],
        cwd=ROOT,
        env={**os.environ, "TUNELANG_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    told, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, told
    return told


def weights(home: Path) -> dict[str, bytes]:
    objects = Store(home).home.glob("objects/*/model/model.safetensors")
    return {path.parts[-3]: path.read_bytes() for path in objects}


def test_two_hosts_train_one_stage(hosts: tuple[str, str], tmp_path: Path) -> None:
    """The plan's folder is carried out by the same command on both hosts, each with its number. The
    stage is published once, by both together, and equals what two processes of one host make."""
    recipe, folder, home = tmp_path / "two.tune", tmp_path / "plan", tmp_path / "home"
    recipe.write_text(RECIPE)
    finish(tunelang(home, "plan", str(recipe), "-o", str(folder)))
    meet = ("--rendezvous", f"{HOSTS[0]}:29400", "--plain")
    both = [
        tunelang(home, "run", str(folder), "--node", str(number), *meet, within=name)
        for number, name in enumerate(hosts)
    ]
    first, second = (finish(process) for process in both)
    assert "waiting for the first machine to start `domain`" in second
    assert "domain    done" in first
    one = tmp_path / "one.tune"
    one.write_text(RECIPE.replace("nodes = 2", "count = 2"))
    finish(tunelang(tmp_path / "one", "run", str(one), "--plain"))
    assert len(weights(home)) == 2
    assert weights(home) == weights(tmp_path / "one")
