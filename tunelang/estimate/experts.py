"""Which experts a task uses: scores of each layer's routed experts -> the few that train.

Expert-specialised fine-tuning (Wang et al. 2024, arXiv 2407.01906, section 3). Scores are means
over the tokens of the task's own text:

- token: r_i = mean of 1[i among the K chosen] / K, which adds up to 1 in a layer;
- gate: g_i = mean of the gate weight, not renormalised: it adds up to less than 1 where the router
  leaves it so, as DeepSeek-V2-Lite's does (0.26 to 0.53).

The authors' `generate_expert_config.py` normalises over layers, and so does not make the selections
that they publish; the paper's formula, per layer, does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# p of the paper, section 4.1: what is kept of the scores of a layer.
MASS = {"token": 0.2, "gate": 0.1}
# Published scores are rounded so, and the published selections follow from the rounded ones.
DECIMALS = 4
SLACK = 0.02  # by which rounded scores of up to 400 experts may miss the sum of a layer

Scores = dict[str, dict[int, float]]  # layer -> expert -> score
Selection = dict[str, list[int]]  # layer -> experts, the most asked first


def select(scores: Scores, mass: float) -> Selection:
    """Of each layer the fewest experts, best first, whose scores add up to `mass`.

    The sum is looked at before an expert is added. Equal scores go by expert number.
    """
    return {layer: _chosen(scores[layer], mass) for layer in sorted(scores, key=int)}


def _chosen(scores: Mapping[int, float], mass: float) -> list[int]:
    kept: list[int] = []
    gathered = 0.0
    rounded = {expert: round(score, DECIMALS) for expert, score in scores.items()}
    for expert in sorted(rounded, key=lambda each: (-rounded[each], each)):
        if gathered >= mass:
            break
        kept.append(expert)
        gathered += rounded[expert]
    return kept


def scores_of(document: Any, score: str) -> Scores:
    """The `token` or `gate` scores of a JSON document, by layer.

    It may be an `expert_scores.json` of ours, a `summary.json` of the authors (`token_scores`,
    `gate_scores`), or scores alone. Counts of tokens become shares of their layer. Raises
    ValueError with a reason for people.
    """
    layers = _layers(document, score)
    found = {str(int(layer)): _numbers(layer, values) for layer, values in layers.items()}
    for layer, values in found.items():
        total = sum(values.values())
        if total <= 0:
            raise ValueError(f"the scores of layer {layer} add up to nothing")
        if score == "token" and abs(total - 1) > SLACK:
            found[layer] = {expert: value / total for expert, value in values.items()}
        elif score == "gate" and total > 1 + SLACK:
            msg = f"gate scores of layer {layer} add up to {total:.4g}: they are no means per token"
            raise ValueError(msg)
    return found


def _layers(document: Any, score: str) -> Mapping[str, Any]:
    """The part of a document that holds the wanted scores."""
    if not isinstance(document, Mapping):
        raise ValueError("it is no JSON object")
    inside = document.get("scores", document)
    if document.get("score", score) != score:
        raise ValueError(f"it holds {document['score']} scores, not {score} scores")
    for name in (score, f"{score}_scores"):
        if isinstance(inside, Mapping) and name in inside:
            inside = inside[name]
            break
    if not isinstance(inside, Mapping) or not inside or not all(map(_is_number, inside)):
        raise ValueError(f"it holds no {score} scores by layer")
    return inside


def _is_number(name: Any) -> bool:
    return str(name).isdecimal()


def _numbers(layer: str, values: Any) -> dict[int, float]:
    """Scores by expert, of an object or of a list."""
    if isinstance(values, list):
        values = dict(enumerate(values))
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"layer {layer} holds no scores")
    wrong = [
        expert
        for expert, value in values.items()
        if not _is_number(expert)
        or isinstance(value, bool)
        or not isinstance(value, int | float)
        # a comparison with NaN is false
        or not 0 <= value < float("inf")
    ]
    if wrong:
        raise ValueError(f"the score of expert {wrong[0]} in layer {layer} is no number from 0")
    return dict(sorted((int(expert), float(value)) for expert, value in values.items()))


def config(selection: Selection, *, shared: bool = False) -> dict[str, Any]:
    """DeepSeek's expert config: what `expert_configs/*.json` of their repository hold."""
    return {"experts": selection, "shared_experts": shared, "non_expert_modules": False}


def selection_of(document: Any) -> tuple[Selection, bool]:
    """The experts of a DeepSeek expert config, and whether shared experts train too.

    Raises ValueError with a reason for people.
    """
    layers = document.get("experts") if isinstance(document, Mapping) else None
    if not isinstance(layers, Mapping) or not layers or not all(map(_is_number, layers)):
        raise ValueError('it has no `experts` by layer, as {"experts": {"1": [5, 60]}}')
    if document.get("non_expert_modules"):
        raise ValueError("it trains all that is no expert too (`non_expert_modules`): use `full`")
    found: Selection = {}
    for layer, experts in layers.items():
        whole = isinstance(experts, list) and all(
            type(each) is int and each >= 0 for each in experts
        )
        if not whole or len(set(experts)) < len(experts):
            raise ValueError(f"the experts of layer {layer} are no list of different numbers")
        found[str(int(layer))] = list(experts)
    shared = bool(document.get("shared_experts"))
    if not shared and not any(found.values()):
        raise ValueError("it names no expert to train")
    return found, shared


def kept(selection: Selection, scores: Scores) -> dict[str, float]:
    """The score that the chosen experts of each layer add up to."""
    return {
        layer: sum(scores[layer][expert] for expert in experts)
        for layer, experts in selection.items()
    }


def share(fields: Mapping[str, Any]) -> float:
    """The share of routed experts that is planned with, before anything is scored.

    With token scores no layer needs more than mass x experts, since the best ones have at least
    the mean score; the published selections by gate lie at half to one and a quarter of that.
    """
    return mass_of(fields)


def mass_of(fields: Mapping[str, Any]) -> float:
    """The mass asked for, or the paper's for the kind of score."""
    asked = fields.get("mass")
    return MASS[str(fields.get("score", "token"))] if asked is None else float(asked)
