"""What steps that train nothing are predicted to need, from counts that anybody can do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tunelang.catalog import gpus, models
from tunelang.estimate.config import from_config
from tunelang.estimate.inference import Reading, passing, read, weights
from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import Architecture, count
from tunelang.plan import findings
from tunelang.rules.pages import CHECKOUT


def known(hub_id: str) -> Architecture:
    config = models.config(hub_id)
    assert config
    found = from_config(config, hub_id)
    assert found
    return found


LLAMA = known("meta-llama/Llama-3.1-8B")
WORK = Reading(LLAMA, 2, sequences=1000, prompt=512, reply=256)


def machine(name: str) -> Machine:
    gpu = gpus.find(name)
    assert gpu
    return Machine("gpu", gpu, 1, gpu.memory, gpu.usable, 1, None, gpu.bf16)


def test_bytes_are_weights_and_cache() -> None:
    """2 bytes a weight; 2 (keys and values) x layers x 1024 x 2 bytes a token of cache: 96 MiB for
    a row of 768 tokens of Llama 3.1 8B."""
    assert weights(WORK) == 2 * count(LLAMA)
    assert weights(replace(WORK, quantised=True)) < 0.4 * weights(WORK)
    short = replace(WORK, reply=0)
    assert passing(WORK, 1) - passing(short, 1) == 2 * 32 * 1024 * 2 * 256
    assert passing(WORK, 8) == 8 * passing(WORK, 1)


def test_as_many_rows_as_fit() -> None:
    """64 rows on 80 GB; fewer on 24 GB; none at 4 bytes a weight; what is written is taken."""
    large = read(WORK, machine("H100-80GB"))
    assert (large.micro, large.fits) == (64, "yes")
    small = read(WORK, machine("RTX4090"))
    assert small.micro < 64 and small.estimate.peak <= machine("RTX4090").usable
    assert read(replace(WORK, width=4), machine("RTX4090")).fits == "no"
    assert read(replace(WORK, micro=3), machine("H100-80GB")).micro == 3


@pytest.mark.parametrize(("gpu", "fits"), [("RTX4090", True), ("T4", False)])
def test_what_does_not_fit_is_an_error(tmp_path: Path, gpu: str, fits: bool) -> None:
    """TL701 where the recipe names the hardware: 8B on 24 and on 16 GB, its judge after it."""
    ground = (CHECKOUT / "ground.tune").read_text()
    text = f"""hardware card {{ gpu = "{gpu}" }}
stage judge: reward_modeling {{
  model = base
  data = pairs
  weights = lora(rank = 16)
  on = pod
}}
stage answers: generate {{
  model = base
  prompts = asks
  reward = judge
  replies = 4
  seed = 0
  on = card
}}
"""
    path = tmp_path / "r.tune"
    path.write_text(ground + text)
    codes = {each.code for each in findings.of_file(path).found if each.severity.name == "ERROR"}
    assert ("TL701" in codes) is not fits
