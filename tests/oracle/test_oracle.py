"""Steps of our own trainer on tensors without contents, against what is stored and the closed form.

What is proven: the closed form of estimate/ agrees with what the code in train/ really holds, by
group, and the stored figures are those of today's code and versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from statistics import median

import pytest

from tests.oracle import compared as oracle
from tests.oracle.cases import Case
from tests.oracle.grid import cases
from tunelang.catalog import stacks
from tunelang.plan import engine_config

# One of each kind, the quickest ones.
LIVE = (
    Case("llama_1b", rows=2),
    Case("llama_1b", rows=2, checkpointing=True),
    Case("llama_1b", rows=2, masters=False),
    Case("llama_1b", rows=2, weights="lora"),
    Case("llama_1b", rows=2, weights="qlora", rank=64),
    Case("mixtral", rows=2, weights="experts", chosen=2),
    Case("llama_1b", "reward", rows=2, length=1024),
    Case("llama_1b", "dpo", rows=2, length=1024, prompt=256, reference="own", checkpointing=True),
)


@pytest.fixture(scope="module")
def errors() -> dict[Case, float]:
    return oracle.errors()


def off(found: dict[Case, float], kinds: Iterable[str] = ()) -> tuple[float, float]:
    """Median and ninth decile of the errors of some kinds of cases, of all where none is named."""
    wanted = set(kinds)
    values = sorted(
        abs(error) for case, error in found.items() if not wanted or oracle.kind(case) in wanted
    )
    assert values
    return median(values), values[int(0.9 * len(values))]


def test_all_of_the_grid_is_stored() -> None:
    """At least 120 cases, and every one of the grid."""
    assert len(cases()) >= 120
    assert set(oracle.stored()) == set(cases())


def test_the_closed_form_agrees_with_the_grid(errors: dict[Case, float]) -> None:
    """All cases together: median within 0.2 %, nine in ten within 1 %, none beyond 4 %."""
    middle, most = off(errors)
    assert middle < 0.002
    assert most < 0.01
    assert max(map(abs, errors.values())) < 0.04


@pytest.mark.parametrize(
    ("kinds", "middle", "most"),
    [
        (("dense",), 0.002, 0.01),
        (("mixtures", "esft"), 0.005, 0.03),
        (("dpo",), 0.002, 0.01),
        (("reward",), 0.003, 0.02),
        (("ppo",), 0.002, 0.01),
        (("grpo", "rloo"), 0.002, 0.01),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_each_group_agrees(
    kinds: tuple[str, ...], middle: float, most: float, errors: dict[Case, float]
) -> None:
    """No group hides behind the others."""
    found = off(errors, kinds)
    assert found[0] < middle
    assert found[1] < most


@pytest.mark.parametrize("case", LIVE, ids=lambda case: case.name)
def test_stored_peaks_are_those_of_the_code(case: Case) -> None:
    """Measured again here, to the byte; after a change of the trainer: python -m tests.oracle."""
    from tests.oracle.__main__ import peaks_of
    from tests.oracle.steps import measured

    assert peaks_of(measured(case)) == oracle.stored()[case]


def test_the_versions_are_those_that_are_pinned() -> None:
    """Peaks belong to versions: a pin that moves asks for a new measurement."""
    import peft
    import torch
    import transformers

    versions = json.loads(oracle.FILE.read_text("utf-8"))["versions"]
    here = {each.__name__: each.__version__ for each in (torch, transformers, peft)}
    assert {name: plain(version) for name, version in versions.items()} == {
        name: plain(version) for name, version in here.items()
    }


def plain(version: str) -> str:
    """Without the build that it is for."""
    return version.partition("+")[0]


def test_our_record_repeats_what_is_decided_elsewhere() -> None:
    """Two figures that DeepSpeed is told (plan/engine_config.py), one of train/forward.py."""
    from tunelang.train import forward

    ours = stacks.find(stacks.OURS)
    assert ours.zero_bucket == engine_config.REDUCE_BUCKET
    assert ours.zero_live == engine_config.LIVE
    assert ours.piece_logits == forward.LOGITS
