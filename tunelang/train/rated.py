"""Figures of what does not write: a reward model on comparisons, a classifier on labelled rows."""

from __future__ import annotations

import json

from torch import nn

from tunelang.plan.ir import Step, StoreModel
from tunelang.train import classifier, judge, labelled, reward_lists
from tunelang.train.evaluate import Lens
from tunelang.train.job import Job, fail
from tunelang.train.judge import Judge
from tunelang.train.measured import Set
from tunelang.train.model import load
from tunelang.train.speech import Speech
from tunelang.train.trainable import Trained


def measure(step: Step, job: Job, kind: str, sets: list[Set]) -> None:
    """The figures of every set."""
    ref = step.inputs["model"]
    if not isinstance(ref, StoreModel):
        msg = f"a {kind} is what a stage made"
        raise TypeError(msg)
    job.phase("loading model")
    if kind == "reward":
        rewards(ref, step, job, sets)
    else:
        classes(ref, step, job, sets)


def rewards(ref: StoreModel, step: Step, job: Job, sets: list[Set]) -> None:
    """Accuracy of pairs, loss, margin, calibration and what length has to do with scores."""
    loaded = load(ref, job, precision=step.precision)
    if loaded.head is None:
        fail("TL115", "wrong-stage-kind", "the reward has no score head")
    head = nn.Linear(loaded.head.shape[1], 1, bias=False)
    gain = gain_of(ref, job)
    # It is kept with its gain in it (reward.py); a judge puts that on by itself.
    head.weight = nn.Parameter(loaded.head / gain, requires_grad=False)
    lens = Lens(step.precision, job.device, loaded.tokenizer.pad_token_id)
    made = Judge(Trained(loaded.model, None, ()), head, lens, 0.0, margin=False, gain=gain)
    job.phase("measuring")
    for each in sets:
        writer = reward_lists.Writer(Speech(loaded.tokenizer, loaded.template), step.length or 0)
        lists = [one for example in each.rows for one in writer(example)]
        reward_lists.report(writer, job)
        each.figures |= judge.measure(made, lists)


def gain_of(ref: StoreModel, job: Job) -> float:
    """What the judge's scores were multiplied by after training: a score over it is a log-odds."""
    path = job.store.object(ref.key) / "calibration.json"
    return float(json.loads(path.read_text("utf-8"))["gain"]) if path.is_file() else 1.0


def classes(ref: StoreModel, step: Step, job: Job, sets: list[Set]) -> None:
    """Accuracy, loss and macro F1, and the class that each row was taken for."""
    made, loaded = classifier.opened(ref, job, precision=step.precision)
    numbers = {label: at for at, label in enumerate(made.labels)}
    job.phase("measuring")
    for each in sets:
        writer = labelled.Writer(Speech(loaded.tokenizer, None), step.length or 0, numbers)
        samples = [one for example in each.rows for one in writer(example)]
        labelled.report(writer, job)
        each.figures |= classifier.measure(made, samples)
