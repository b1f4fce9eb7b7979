"""Log-probabilities of a reference: live, or computed once and kept as an artifact.

`run` is the worker of the step that tunelang/plan/reference.py puts before a stage: one forward
pass over every reply of the data. What it keeps is looked up by the tokens themselves, so values
of other rows, another template or another length cannot be taken by mistake.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tunelang.plan.ir import Step
from tunelang.run.store import room, write_json
from tunelang.train import data, judged, likelihood, product, ranked, stage, trainable
from tunelang.train.checkpoint import write_tensors
from tunelang.train.data import Example, Split
from tunelang.train.engines.engine import Engine
from tunelang.train.engines.single import Single
from tunelang.train.evaluate import Lens
from tunelang.train.folders import origin, tokenizer_folder
from tunelang.train.forward import Row
from tunelang.train.job import Job, fail
from tunelang.train.material import mixture
from tunelang.train.model import Loaded, read_tokenizer
from tunelang.train.speech import Speech
from tunelang.train.trainable import Trained

FILE = "log_probs.safetensors"
KEPT = "reference_log_probs"  # the input that names the artifact
BATCH = 64  # rows between two signs of life

# Rows -> log pi_ref(reply | prompt) [B], without gradient.
Reference = Callable[[Sequence[Row]], Tensor]


def digest(row: Row) -> bytes:
    """16 bytes of sha256 over the tokens and which of them are the reply."""
    numbers = [len(row.ids), *row.ids, *row.labels]
    return hashlib.sha256(struct.pack(f"<{len(numbers)}q", *numbers)).digest()[:16]


def reference_of(step: Step, job: Job, trained: Trained, lens: Lens, engine: Engine) -> Reference:
    """The kept values where the plan computed them; adapters off where the reference is the
    stage's own start; else a frozen model of its own."""
    kept = step.inputs.get(KEPT)
    if kept is not None and kept.kind == "store":
        return Kept.read(job, kept.key, job.device)
    if trained.adapter and step.inputs["reference"] == step.inputs["model"]:
        return Off(trained, lens)
    same_tokens(step, job)
    return Frozen(stage.loaded(step, job, "reference").model, lens, engine)


def same_tokens(step: Step, job: Job) -> None:
    """TL409: log-ratios need one vocabulary."""
    ours, theirs = (
        read_tokenizer(tokenizer_folder(origin(step.inputs[role], job), job)).get_vocab()
        for role in ("model", "reference")
    )
    if ours != theirs:
        fail(
            "TL409",
            "tokenizers-differ",
            "the model and its reference read different tokens",
            "leave `reference` out, or name a model of the same family",
        )


@dataclass(frozen=True)
class Off:
    """The stage's start: the trained model with its new adapter switched off."""

    trained: Trained
    lens: Lens

    def __call__(self, rows: Sequence[Row]) -> Tensor:
        model = self.trained.model
        with trainable.using(model, self.trained.start):
            return resting(model, rows, self.lens)


@dataclass(frozen=True)
class Frozen:
    """A model of its own that never trains; the engine holds it."""

    model: Any
    lens: Lens
    engine: Engine = field(default_factory=Single)

    def __call__(self, rows: Sequence[Row]) -> Tensor:
        with torch.no_grad():
            return self.engine.compute(lambda: resting(self.model, rows, self.lens), self.model)


def resting(model: Any, rows: Sequence[Row], lens: Lens) -> Tensor:
    """`sums` in evaluation mode and without gradients: no dropout, no random number drawn."""
    training = model.training
    model.eval()
    with torch.no_grad():
        found = likelihood.sums(model, rows, lens)
    model.train(training)
    return found


@dataclass(frozen=True)
class Kept:
    """Values that were computed before, by the digest of a row."""

    values: dict[bytes, float]
    device: str

    def __call__(self, rows: Sequence[Row]) -> Tensor:
        try:
            found = [self.values[digest(row)] for row in rows]
        except KeyError as missing:
            msg = "the reference's log-probabilities were computed over other rows"
            raise ValueError(msg) from missing
        return torch.tensor(found, dtype=torch.float32, device=self.device)

    @classmethod
    def read(cls, job: Job, key: str, device: str) -> Kept:
        """What an earlier step left in the store."""
        tensors = load_file(job.store.object(key) / FILE)
        marks = tensors["digests"].numpy()
        values = tensors["log_probs"].tolist()
        return cls({bytes(mark): value for mark, value in zip(marks, values, strict=True)}, device)


# --- the step that computes them ----------------------------------------------------------------


def run(step: Step, job: Job) -> dict[str, dict[str, float]]:
    """One pass over every reply; a row that stands there twice is computed once."""
    start = stage.begin(step, job)
    job.phase("reading data")
    rows = {digest(row): row for row in every_row(step, job, speech_of(step, job, start))}
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    job.phase("computing the reference's log-probabilities")
    found = computed(start.model, list(rows.values()), lens, job)
    write(step, job, list(rows), found)
    job.note(f"{len(rows)} replies are scored by the reference once, for every stage that needs it")
    return {"before": {}, "after": {}}


def speech_of(step: Step, job: Job, start: Loaded) -> Speech:
    """Rows are written as the model that trains reads them."""
    if "speaks" not in step.inputs:
        return Speech(start.tokenizer, start.template)
    known = origin(step.inputs["speaks"], job)
    tokenizer = read_tokenizer(tokenizer_folder(known, job))
    if tokenizer.get_vocab() != start.tokenizer.get_vocab():
        fail(
            "TL409",
            "tokenizers-differ",
            "the model and its reference read different tokens",
            "leave `reference` out, or name a model of the same family",
        )
    template = tokenizer.chat_template if known.template is not None else None
    return Speech(tokenizer, template)


def every_row(step: Step, job: Job, speech: Speech) -> list[Row]:
    """Every reply of the data whose log-probability a stage may ask for."""
    splits = data.load(mixture(step), job)
    if step.fields["rows"] == "feedback":
        writer = judged.Writer(speech, step.length or 0)
        singles = judged.encode(splits, writer)
        return [row for each in both(singles) for row in (each.reply, each.other)]
    every = (replies_of(example, speech) for example in both(splits))
    return [row for rows in every for row in rows if len(row.ids) <= (step.length or 0)]


def both(splits: Sequence[Split[Any]]) -> Iterable[Any]:
    """Training and held-out rows."""
    return (row for split in splits for row in (*split.train, *split.held_out))


def replies_of(example: Example, speech: Speech) -> list[Row]:
    """All replies of a preference or ranking row, whatever their order."""
    values = example.values
    replies = values.get("replies") or [values["chosen"], values["rejected"]]
    writer = ranked.Writer(speech, 0)
    return [writer.tokens(example, reply) for reply in replies]


def computed(model: Any, rows: Sequence[Row], lens: Lens, job: Job) -> Tensor:
    """log pi_ref [N] in fp32, in batches of like length."""
    order = sorted(range(len(rows)), key=lambda at: len(rows[at].ids))
    found = torch.empty(len(rows))
    for start in range(0, len(order), BATCH):
        taken = order[start : start + BATCH]
        found[taken] = likelihood.sums_of(model, [rows[at] for at in taken], lens).cpu()
        done = start + len(taken)
        job.emit({"event": "progress", "at": done, "of": len(rows), "metrics": {}})
    return found


def write(step: Step, job: Job, marks: list[bytes], found: Tensor) -> None:
    """`log_probs.safetensors`: digests [N, 16] and log_probs [N]."""
    folder = product.begin(job)
    with room(job.home, f"the log-probabilities of `{step.name}` cannot be written"):
        digests = torch.tensor([list(mark) for mark in marks], dtype=torch.uint8)
        write_tensors(folder / FILE, {"digests": digests, "log_probs": found})
        product.describe(step, job, {**product.NO_MODEL, "rows": len(marks)})
        write_json(folder / "metrics.json", {"before": {}, "after": {}, "series": []})
        product.close(step, job)
