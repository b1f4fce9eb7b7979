"""Labelled rows -> token rows with the number of their class; classes are named in sorted order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunelang.train import speech as spoken
from tunelang.train.classifier import Sample
from tunelang.train.data import Example, Split
from tunelang.train.job import Job, fail
from tunelang.train.speech import Speech


@dataclass
class Tally:
    """Rows seen, and rows that were cut."""

    seen: int = 0
    cut: int = 0


@dataclass(frozen=True)
class Writer:
    """How labelled rows become samples: plain text and its end mark, at most `length` tokens."""

    speech: Speech
    length: int
    numbers: Mapping[str, int]
    tally: Tally = field(default_factory=Tally)

    def __call__(self, example: Example) -> list[Sample]:
        label = label_of(example)
        if label not in self.numbers:
            message = f"{example.place}: no row to train on is labelled `{label}`"
            help = f"the classes are {', '.join(self.numbers)}"
            fail("TL738", "unknown-class", message, help)
        ids = spoken.text(self.speech, str(example.values["text"])).ids
        self.tally.seen += 1
        self.tally.cut += len(ids) > self.length
        kept = ids if len(ids) <= self.length else [*ids[: self.length - 1], ids[-1]]
        return [Sample(kept, self.numbers[label])]


def label_of(example: Example) -> str:
    """The label of a row as text; TL301 where it is empty."""
    label = example.values.get("label")
    if label is None or label == "":
        fail("TL301", "missing-column", f"{example.place}: the row has no label")
    return str(label)


def classes(splits: Sequence[Split[Example]], job: Job) -> tuple[str, ...]:
    """The labels of the rows that are trained on, sorted (numbers by size); TL737 for only one."""
    counted = Counter(label_of(row) for split in splits for row in split.train)
    whole = all(re.fullmatch(r"-?\d+", label) for label in counted)
    names = sorted(counted, key=lambda label: (int(label) if whole else 0, label))
    if len(names) < 2:
        found = f"every row is labelled `{names[0]}`" if names else "there is no row"
        fail("TL737", "one-class", f"nothing can be told apart: {found}", "bring rows of others")
    listed = ", ".join(f"{name} ({counted[name]})" for name in names)
    job.note(f"{len(names)} classes, with their rows: {listed}")
    return tuple(names)


def report(writer: Writer, job: Job) -> None:
    """Say how many rows were cut."""
    tally = writer.tally
    if tally.cut:
        job.note(
            f"{tally.cut} of {tally.seen} texts are longer than {writer.length} tokens and are "
            "cut before their end mark"
        )
