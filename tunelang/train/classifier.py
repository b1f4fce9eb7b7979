"""A classifier: the body of a language model, its states pooled to one vector, a linear head.

logits = W pool(h_1 .. h_T) + b, with W [C, w], b [C] in fp32. `last` and `mean` pool to w = H;
`concat` is [h_T, max h, mean h] of ULMFiT (Howard and Ruder 2018, arXiv 1801.06146, section 3.3)
and has w = 3H. The product of every method that makes one is written and opened here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tunelang.plan.ir import StoreModel
from tunelang.train import forward
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job
from tunelang.train.losses import cross_entropy_sum
from tunelang.train.model import Loaded, load
from tunelang.train.scoring import groups

HEAD = "head.safetensors"
POOLINGS = {"last": 1, "mean": 1, "concat": 3}  # widths of the pooled vector in hidden sizes


@dataclass(frozen=True)
class Sample:
    """A text as tokens, and the number of its class."""

    ids: list[int]
    label: int


@dataclass(frozen=True)
class Classifier:
    """A body, a head [C, w] in fp32 and the names of the C classes, in the head's order."""

    model: Any
    head: nn.Linear
    labels: tuple[str, ...]
    pooling: str
    lens: Lens


def fresh(model: Any, labels: Sequence[str], pooling: str, lens: Lens) -> Classifier:
    """A classifier whose head is zero: its first loss is ln C, and the body's first gradient 0.

    A random head would distort good features before it has learnt anything (Kumar et al. 2022,
    arXiv 2202.10054).
    """
    width = POOLINGS[pooling] * forward.causal(model).config.hidden_size
    head = nn.Linear(width, len(labels), dtype=torch.float32, device=lens.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return Classifier(model, head, tuple(labels), pooling, lens)


def pool(hidden: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    """States [B, T, H] of right-padded rows of `lengths` [B] -> vectors [B, w] in fp32."""
    hidden = hidden.float()
    last = hidden[torch.arange(len(lengths), device=hidden.device), lengths - 1]
    if pooling == "last":
        return last
    places = torch.arange(hidden.shape[1], device=hidden.device)
    inside = (places < lengths[:, None]).unsqueeze(-1)  # [B, T, 1]
    mean = (hidden * inside).sum(1) / lengths[:, None]
    if pooling == "mean":
        return mean
    return torch.cat([last, hidden.masked_fill(~inside, -torch.inf).amax(1), mean], dim=-1)


def features(model: Any, ids: Sequence[list[int]], pooling: str, lens: Lens) -> Tensor:
    """Pooled vectors [B, w] in fp32 of token rows, with gradients where they are on."""
    longest = max(map(len, ids))
    padded = torch.tensor(
        [row + [lens.pad] * (longest - len(row)) for row in ids], device=lens.device
    )
    lengths = torch.tensor([len(row) for row in ids], device=lens.device)
    with forward.autocast(lens.precision, lens.device):
        hidden = forward.hidden_states(model, padded)
    with torch.autocast(lens.device, enabled=False):
        return pool(hidden, lengths, pooling)


def features_of(model: Any, ids: Sequence[list[int]], pooling: str, lens: Lens) -> Tensor:
    """`features` without gradients, in small batches of like length, in the order given."""
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    with torch.no_grad():
        made = [
            features(model, [ids[at] for at in group], pooling, lens)
            for group in groups(order, ids)
        ]
        return torch.cat(made)[torch.tensor(order, device=lens.device).argsort()]


def logits(classifier: Classifier, ids: Sequence[list[int]]) -> Tensor:
    """Logits [B, C] in fp32 of token rows, with gradients where they are on."""
    found = features(classifier.model, ids, classifier.pooling, classifier.lens)
    with torch.autocast(classifier.lens.device, enabled=False):
        scored: Tensor = classifier.head(found)
        return scored


def logits_of(classifier: Classifier, ids: Sequence[list[int]]) -> Tensor:
    """`logits` without gradients, in small batches of like length, in the order given."""
    with torch.no_grad():
        found = features_of(classifier.model, ids, classifier.pooling, classifier.lens)
        scored: Tensor = classifier.head(found)
        return scored


def predict(classifier: Classifier, ids: Sequence[list[int]]) -> list[str]:
    """The most likely class of every row, by name; ties go to the first."""
    chosen = logits_of(classifier, ids).argmax(-1).tolist()
    return [classifier.labels[number] for number in chosen]


def measure(classifier: Classifier, rows: Sequence[Sample]) -> dict[str, float]:
    """`accuracy`, `loss` (mean cross-entropy in nats) and `macro_f1`; empty without rows."""
    if not rows:
        return {}
    scored = logits_of(classifier, [row.ids for row in rows])
    truth = torch.tensor([row.label for row in rows], device=scored.device)
    chosen = scored.argmax(-1)
    return {
        "accuracy": int((chosen == truth).sum()) / len(rows),
        "loss": float(cross_entropy_sum(scored, truth)) / len(rows),
        "macro_f1": macro_f1(chosen, truth),
    }


def macro_f1(chosen: Tensor, truth: Tensor) -> float:
    """The mean over classes of 2 tp / (2 tp + fp + fn); classes in neither [N] do not count."""
    found = []
    for label in sorted({*chosen.tolist(), *truth.tolist()}):
        hits = int(((chosen == label) & (truth == label)).sum())
        found.append(2 * hits / int((chosen == label).sum() + (truth == label).sum()))
    return sum(found) / len(found)


def kept(classifier: Classifier) -> dict[str, Any]:
    """What `product.Finished` holds of a classifier: its head's tensors and what is said of it."""
    head = classifier.head
    return {
        "tensors": {HEAD: {"weight": head.weight.float(), "bias": head.bias.float()}},
        "more": {"head": HEAD, "labels": list(classifier.labels), "pooling": classifier.pooling},
    }


def opened(ref: StoreModel, job: Job, *, precision: str) -> tuple[Classifier, Loaded]:
    """A finished classifier, bit for bit as it was saved, and the model it is made of."""
    loaded = load(ref, job, precision=precision)
    lens = Lens(precision, job.device, loaded.tokenizer.pad_token_id)
    return with_head(
        loaded.model, job.store.object(ref.key), job.store.product(ref.key), lens
    ), loaded


def with_head(model: Any, folder: Path, said: Mapping[str, Any], lens: Lens) -> Classifier:
    """A body with the head of an object's folder; `said` is its product.json."""
    made = fresh(model, said["labels"], said["pooling"], lens)
    made.head.load_state_dict(load_file(folder / said["head"], device=lens.device))
    return made
