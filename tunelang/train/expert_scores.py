"""`run` for expert_scores: how much a stage's own text asks of each routed expert.

A step of its own in the plan: stages that differ in score, mass or rate share one pass. Both scores
of the paper (Wang et al. 2024, arXiv 2407.01906, equations 5 and 6) are taken at once, from what
goes into the fused experts, so no family's router needs code of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.run.store import room, write_json
from tunelang.train import data, evaluate, forward, material, mix, product
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.expert_choice import SCORES
from tunelang.train.expert_modules import Routed, routed
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.model import load
from tunelang.train.rows import Writer, report
from tunelang.train.stage import Metrics


class Tally:
    """Sums over tokens by layer: how often each expert was asked, and with what gate weight.

    `real` [N] is true for the tokens of the batch that are no padding.
    """

    def __init__(self, layers: dict[int, Routed]) -> None:
        self.asked = {layer: torch.zeros(each.count).double() for layer, each in layers.items()}
        self.gates = {layer: torch.zeros(each.count).double() for layer, each in layers.items()}
        self.tokens = 0
        self.active = 0
        self.real = torch.zeros(0, dtype=torch.bool)

    def add(self, layer: int, index: Tensor, weights: Tensor) -> None:
        """Count one batch of a layer: index and weights [N, K]."""
        chosen = index[self.real].flatten().cpu()
        share = weights[self.real].flatten().double().cpu()
        self.active = index.shape[1]
        self.asked[layer] += torch.bincount(chosen, minlength=len(self.asked[layer]))
        self.gates[layer].index_add_(0, chosen, share)

    def scores(self, scale: float) -> dict[str, dict[str, dict[str, float]]]:
        """r_i = asked / (tokens K) and g_i = gates / (tokens scale), by layer and expert."""
        per = {"token": self.tokens * self.active, "gate": self.tokens * scale}
        found = {"token": self.asked, "gate": self.gates}
        return {
            score: {
                str(layer): {
                    str(expert): float(value) / per[score] for expert, value in pairs(sums)
                }
                for layer, sums in layers.items()
            }
            for score, layers in found.items()
        }


def pairs(sums: Tensor) -> Iterator[tuple[int, float]]:
    """Experts with their sums."""
    return enumerate(sums.tolist())


def run(step: Step, job: Job) -> Metrics:
    """Read the sample, count, and write `expert_scores.json`."""
    job.phase("loading model")
    start = load(step.inputs["model"], job, precision=step.precision)
    layers = routed(start.model)
    writing = step.model_copy(update={"method": step.fields["method"]})
    speech = material.speak(writing, job, start)
    job.phase("reading data")
    writer = Writer(speech, step.length or 0, "all")
    read = data.load(material.mixture(step), job)
    parts = [data.encode(split, writer) for split in read]
    report(writer, job, step.name)
    data.need_rows(parts, step)
    wanted = int(step.fields["sample"])
    rows = sample(step, parts, wanted)
    job.phase("scoring experts")
    tally = count(start.model, rows, Lens(step.precision, job.device, start.tokenizer.pad_token_id))
    if tally.tokens < wanted:
        job.note(f"experts are scored on all {tally.tokens:,} tokens; {wanted:,} were asked for")
    write(step, job, document(tally, start.model.config, layers))
    return {"before": {}, "after": {}}


def sample(step: Step, parts: Sequence[Split[Row]], wanted: int) -> list[Row]:
    """Rows in the order in which they are trained on, cut to `wanted` tokens; none comes twice
    in a part before all have come once, and no more than there are."""
    sizes = [len(part.train) for part in parts]
    stream = mix.stream(material.mixture(step), [part.train for part in parts], step.seed)
    taken: list[Row] = []
    left = wanted
    for part, place in islice(stream, sum(sizes)):
        if left <= 0:
            break
        ids = parts[part].train[place].ids[:left]
        taken.append(Row(ids, ids))
        left -= len(ids)
    return taken


def count(model: Any, rows: Sequence[Row], lens: Lens) -> Tally:
    """What every token of the rows is sent to."""
    tally = Tally(routed(model))
    with torch.no_grad(), watched(model, tally), forward.autocast(lens.precision, lens.device):
        for group in evaluate.by_length(rows):
            batch = forward.collate(group, lens.pad, lens.device)
            lengths = torch.tensor([[len(row.ids)] for row in group], device=lens.device)
            places = torch.arange(batch.ids.shape[1], device=lens.device)
            tally.real = (places < lengths).flatten()
            tally.tokens += int(tally.real.sum())
            forward.hidden_states(model, batch.ids)
    return tally


@contextmanager
def watched(model: Any, tally: Tally) -> Iterator[None]:
    """Inside the block, what goes into the experts is counted."""

    def hook(layer: int) -> Any:
        def look(_module: Any, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            index, weights = given[1:3] or (named["top_k_index"], named["top_k_weights"])
            tally.add(layer, index, weights)

        return look

    hooks = [
        each.module.register_forward_pre_hook(hook(layer), with_kwargs=True)
        for layer, each in routed(model).items()
    ]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def document(tally: Tally, config: Any, layers: dict[int, Routed]) -> dict[str, Any]:
    """What is written: both scores, and what they were counted on.

    DeepSeek V2 and V3 stretch gate weights by `routed_scaling_factor` after the softmax; the
    score is of the gate itself.
    """
    return {
        "version": 1,
        "tokens": tally.tokens,
        "active": tally.active,
        "experts": max(each.count for each in layers.values()),
        "scores": tally.scores(float(getattr(config, "routed_scaling_factor", None) or 1.0)),
    }


def write(step: Step, job: Job, found: dict[str, Any]) -> None:
    """The object: `expert_scores.json` and what it was made from."""
    job.phase("saving")
    folder = product.begin(job)
    with room(job.home, f"`{step.name}` cannot be written"):
        write_json(folder / SCORES, found)
        product.describe(step, job, {**product.NO_MODEL, "template_sha256": None})
        write_json(folder / "metrics.json", {"before": {}, "after": {}, "series": []})
        product.close(step, job)
