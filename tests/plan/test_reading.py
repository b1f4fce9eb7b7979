"""What only reads a model is held to its device: a plan that fits has no step that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunelang.diagnostic import Severity
from tunelang.plan.findings import of_source
from tunelang.recipe.overrides import Settings
from tunelang.rules.pages import CHECKOUT
from tunelang.source import Source

GROUND = (CHECKOUT / "ground.tune").read_text()
# 6.9 billion weights in fp32 are 25.8 GiB: two cards share them while the stage trains, and its
# reference is read by one.
LARGE = """
model large = hf("allenai/OLMoE-1B-7B-0924", revision = "060db64", licence = "apache-2.0")
hardware box { gpu = "GPU", count = COUNT, host_memory = 1TB }
stage one: ipo {
  model = large
  data = pairs
  batch = 8 pairs
  precision = fp32
  parallel { sharding = zero3, offload = all }
  on = box
}
"""


@pytest.mark.parametrize(
    ("gpu", "severity"), [("RTX 4090", "error"), ("RTX 5090", "warning"), ("A100-80GB", "")]
)
def test_a_reference_that_is_read_beforehand_has_to_fit(gpu: str, severity: str) -> None:
    """TL701 names the step that reads, TL702 where it is tight, and nothing where it fits."""
    text = GROUND + LARGE.replace("GPU", gpu).replace("COUNT", "2")
    found = of_source(Source("r.tune", text), Path(), Settings())
    said = [one for one in found.found if "`one.reference` needs" in one.message]
    assert [one.severity.name.lower() for one in said] == ([severity] if severity else [])
    assert {one.code for one in said} <= {"TL701" if severity == "error" else "TL702"}
    assert all((one.severity is Severity.ERROR) == (one.code == "TL701") for one in said)
