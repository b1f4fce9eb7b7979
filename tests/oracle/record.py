"""The constants of a stack record, measured with the installed versions: each is a slope.

One width of a model is changed and nothing else, and so is what one layer saves of one token; for
the loss it is how many logits there are.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from tests.oracle.cases import Case
from tests.oracle.models import CONFIGS
from tests.oracle.steps import measured
from tunelang.train import forward

MODEL = "llama_1b"
FULL = Case(MODEL, masters=False, length=1024)
FROZEN = Case(MODEL, weights="lora", targets=("o_proj",), length=1024)
Found = dict[str, dict[str, int]]


def text() -> str:
    """The record's lines, as `catalog/stacks/*.toml` has them."""
    return "\n".join(f"{name} = {round(value, 1):g}" for name, value in constants().items())


def constants() -> dict[str, float]:
    inputs = 2 * 2  # bf16 inputs of q, k and v, and of gate and up, which are kept where they train
    gated = Case(MODEL, weights="lora", targets=("gate_proj",), length=1024)
    return {
        "norm_full": (saved(FULL, "hidden_size") - inputs) / 2,
        "norm_frozen": saved(FROZEN, "hidden_size") / 2,
        "mlp_full": saved(FULL, "intermediate_size"),
        "mlp_frozen": saved(FROZEN, "intermediate_size"),
        "adapter_input": saved(gated, "hidden_size") - saved(FROZEN, "hidden_size"),
        "logit_piece": logit(Case(MODEL, weights="lora", checkpointing=True, length=8192)),
        "compared": logit(
            Case(
                MODEL,
                "dpo",
                weights="lora",
                reference="computed",
                checkpointing=True,
                length=4096,
                prompt=64,
            )
        ),
    }


def saved(case: Case, width: str) -> float:
    """Bytes that a layer saves of a token for each element of a width."""
    step = 512

    def one(size: int) -> float:
        return (layers(case, 3, {width: size}) - layers(case, 2, {width: size})) / case.length

    size = int(CONFIGS[case.model][width])
    return (one(size + step) - one(size)) / step


def layers(case: Case, count: int, widths: dict[str, int]) -> int:
    """Bytes that wait for backward in a model of so many layers, on top of what rests."""
    made = {**CONFIGS[case.model], **widths, "num_hidden_layers": count}
    with mock.patch.dict(CONFIGS, {case.model: made}):
        marks = measured(case)["marks"]
    return marks["backward"] - marks["forward"]


def logit(case: Case) -> float:
    """Bytes a logit while the loss of one piece is differentiated."""
    return slope(lambda size: most(case, size), 1 << 26, 1 << 27)


def most(case: Case, logits: int) -> float:
    with mock.patch.object(forward, "LOGITS", logits):
        found = measured(case)
    return found["peaks"]["backward"] - found["marks"]["backward"]


def slope(value: Callable[[int], float], low: int, high: int) -> float:
    return (value(high) - value(low)) / (high - low)
