"""How many rows a device holds at once: found quickly whatever the batch is."""

from __future__ import annotations

import pytest

from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.ways import micros
from tunelang.estimate.work import Work

CARD = Machine("gpu", None, 1, 80 * 2**30, 79 * 2**30, 1, None, bf16=True)
PROCESSOR = Machine("cpu", None, 1, 8 * 2**30, 8 * 2**30, 2, None, bf16=False)
TINY = Architecture("tiny", 64, 2, 4, 4, 16, 128, 512, 256, tied=False)


def work(batch: int, length: int = 512) -> Work:
    return Work(TINY, "sft", "full", 0, "all_linear", batch, length, length, "bf16", 10)


@pytest.mark.parametrize(
    ("batch", "found"),
    [(12, [12, 6, 4, 3, 2, 1]), (256, [64, 32, 16, 8, 4, 2, 1]), (67, [1]), (2**60, [64, 32])],
)
def test_micro_batches_divide_the_batch(batch: int, found: list[int]) -> None:
    """Divisors up to 64, largest first; a batch of 10^18 rows, a slip of the pen, takes no time."""
    assert micros(work(batch), CARD, 1)[: len(found)] == found


def test_a_processor_gains_nothing_beyond_2048_tokens() -> None:
    """Four rows of 512 tokens, then fewer; one row where that alone is longer."""
    assert micros(work(2**60), PROCESSOR, 1) == [4, 2, 1]
    assert micros(work(12, length=4096), PROCESSOR, 1) == [1]
