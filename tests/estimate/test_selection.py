"""Experts are chosen as the paper says, from every file that holds their scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunelang.estimate.experts import config, kept, scores_of, select, selection_of, share

PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "esft_law.json").read_text())


def test_the_formula_by_hand() -> None:
    """The fewest, best first; the sum is looked at before one is added."""
    scores = {"3": {0: 0.1, 1: 0.4, 2: 0.3, 3: 0.2}}
    assert select(scores, 0.4) == {"3": [1]}
    assert select(scores, 0.41) == {"3": [1, 2]}
    assert select(scores, 1.0) == {"3": [1, 2, 3, 0]}
    assert kept(select(scores, 0.41), scores) == {"3": pytest.approx(0.7)}


def test_equal_scores_go_by_number() -> None:
    """A tie is no matter of how a dictionary was filled."""
    assert select({"0": {2: 0.25, 0: 0.25, 3: 0.25, 1: 0.25}}, 0.5) == {"0": [0, 1]}


def test_layers_are_in_order_of_number() -> None:
    """10 comes after 9."""
    layers = {layer: {0: 1.0} for layer in ("10", "9", "1")}
    assert list(select(layers, 0.2)) == ["1", "9", "10"]


SHARES = {"0": 0.5, "1": 0.3, "2": 0.2}


@pytest.mark.parametrize(
    "document",
    [
        {"1": SHARES},
        {"1": [0.5, 0.3, 0.2]},
        {"score": "token", "scores": {"1": SHARES}},
        {"token_scores": {"1": SHARES}, "gate_scores": {"1": {"0": 0.1, "1": 0.1, "2": 0.1}}},
        {"version": 1, "scores": {"token": {"1": SHARES}, "gate": {"1": {"0": 0.1}}}},
        {"token_scores": {"1": {"0": 5000, "1": 3000, "2": 2000}}},
    ],
)
def test_scores_are_read_as_they_are_published(document: dict[str, Any]) -> None:
    """Ours, the authors' summary, scores alone, lists, and counts of tokens: all mean the same."""
    assert scores_of(document, "token") == {"1": {0: 0.5, 1: 0.3, 2: 0.2}}


def test_gates_are_not_renormalised() -> None:
    """Gates that add up to 0.3 are left so: a tenth of all is then a third of them."""
    gates = {"gate_scores": {"1": {"0": 0.06, "1": 0.09, "2": 0.15}}}
    assert select(scores_of(gates, "gate"), 0.1) == {"1": [2]}
    assert select(scores_of(gates, "gate"), 0.2) == {"1": [2, 1]}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "no JSON object"),
        ({}, "no token scores by layer"),
        ({"gate_scores": {"1": SHARES}}, "no token scores"),
        ({"score": "gate", "scores": {"1": SHARES}}, "gate scores, not token"),
        ({"1": {}}, "layer 1 holds no scores"),
        ({"1": {"0": "much"}}, "expert 0 in layer 1"),
        ({"1": {"0": float("nan")}}, "expert 0 in layer 1"),
        ({"1": {"0": -0.1}}, "expert 0 in layer 1"),
        ({"1": {"0": 0, "1": 0}}, "add up to nothing"),
    ],
)
def test_what_holds_no_scores_is_told(document: Any, reason: str) -> None:
    """Each mistake in a file has a reason for people."""
    with pytest.raises(ValueError, match=reason):
        scores_of(document, "token")


def test_gates_that_are_sums_are_told() -> None:
    """Sums over tokens cannot be turned into means without their number."""
    with pytest.raises(ValueError, match="no means per token"):
        scores_of({"gate_scores": {"1": {"0": 800.0, "1": 300.0}}}, "gate")


def test_configs_are_those_of_the_authors() -> None:
    """What is written is read back, and has the three keys of `expert_configs/law.json`."""
    chosen = select(scores_of(PUBLISHED, "token"), 0.2)
    written = json.loads(json.dumps(config(chosen)))
    assert set(written) == {"experts", "shared_experts", "non_expert_modules"}
    assert selection_of(written) == (chosen, False)
    assert selection_of(config(chosen, shared=True)) == (chosen, True)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"experts": {}},
        {"experts": {"a": [1]}},
        {"experts": {"1": [1, 1]}},
        {"experts": {"1": [-1]}},
        {"experts": {"1": [True]}},
        {"experts": {"1": 3}},
        {"experts": {"1": [0]}, "non_expert_modules": True},
        {"experts": {"1": []}},
    ],
)
def test_what_is_no_config_is_told(document: Any) -> None:
    """A config that could not be trained as it says is refused."""
    with pytest.raises(ValueError):
        selection_of(document)


def test_the_planned_share_is_not_exceeded_by_token_scores() -> None:
    """No layer needs more than mass x count experts; the law task needs a third of that."""
    chosen = select(scores_of(PUBLISHED, "token"), 0.2)
    most = max(map(len, chosen.values())) / 64
    assert most <= share({"score": "token"}) == 0.2
    assert share({"score": "gate"}) == 0.1
    assert share({"score": "token", "mass": 0.5}) == 0.5
