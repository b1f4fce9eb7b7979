"""The rows of a step: read, set aside, written as tokens, cut to length, counted aloud.

What is dropped or cut is said in a note; a step whose every reply would be lost fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import tunelang.sources.rows as sources
from tunelang.diagnostic import error
from tunelang.errors import UserError
from tunelang.plan.ir import DataPart, FilesSource, HubSource, Mixture, Step, StoreSource
from tunelang.sources import RowError
from tunelang.train import mix, wordings
from tunelang.train.job import Job, fail

T = TypeVar("T")
MOST_HELD_OUT = 64  # rows measured before and after: enough to see a change
ROWS = "rows.jsonl"  # of an object whose product is rows
MIXED = 2  # parts that share something
GLANCE = 16  # of them while training: measuring all had taken half of a short stage's time


@dataclass(frozen=True)
class Example:
    """One row by roles (prompt, reply, messages, text, ...), and where it came from."""

    kind: str
    values: Mapping[str, Any]
    place: str


@dataclass(frozen=True)
class Split(Generic[T]):
    """Rows of one part: those trained on and those set aside."""

    name: str
    train: list[T]
    held_out: list[T]


def load(mixture: Mixture, job: Job) -> list[Split[Example]]:
    """Every part of a mix, read and split. Raises UserError for rows that cannot be read."""
    return [load_part(part, job) for part in mixture.parts]


def load_part(part: DataPart, job: Job) -> Split[Example]:
    """One part in its own words, where it has some; the split is the same for all.

    Rows of the hub come through `datasets`.
    """
    try:
        rows = list(hub_rows(part)) if isinstance(part.source, HubSource) else here(part, job)
        train, held_out = sources.split(rows, part)
    except RowError as wrong:
        raise UserError(wrong.diagnostic) from wrong
    kind, worded = part.format.kind, wordings.of_part(part)
    return Split(
        part.name,
        [worded(Example(kind, row.values, row.place)) for row in train],
        [worded(Example(kind, row.values, row.place)) for row in held_out],
    )


def here(part: DataPart, job: Job) -> list[sources.Row]:
    """The rows of files, of the recipe, or of an earlier step's object."""
    if not isinstance(part.source, StoreSource):
        return sources.read(part)
    made = FilesSource(paths=[str(job.store.object(part.source.key) / ROWS)])
    return sources.read(part.model_copy(update={"source": made}))


def hub_rows(part: DataPart) -> Iterator[Any]:
    """The rows of a hub data set in our roles."""
    from datasets import load_dataset

    source = part.source
    if not isinstance(source, HubSource):
        msg = "not a hub data set"
        raise TypeError(msg)
    try:
        found = load_dataset(source.id, source.subset, split=source.split, revision=source.revision)
    except Exception as problem:
        message = f"`{source.id}` at {source.revision[:12]} could not be loaded from the hub"
        help = "check its name, your network and your access, or give local files"
        raise UserError(error("TL736", "data-not-here", message, None, help=help)) from problem
    for number, values in enumerate(found, start=1):
        yield sources.row(values, f"{source.id}:{number}", part)


def encode(split: Split[Example], write: Callable[[Example], list[T]]) -> Split[T]:
    """Examples as what is trained on; `write` gives none for a row that it has counted as lost."""
    return Split(
        split.name,
        [made for example in split.train for made in write(example)],
        [made for example in split.held_out for made in write(example)],
    )


def spread(splits: Sequence[Split[T]], job: Job) -> list[T]:
    """The held-out rows to measure on, taken in turn from every part, at most 64."""
    queues = [list(split.held_out) for split in splits]
    total = sum(map(len, queues))
    chosen: list[T] = []
    for place in range(max(map(len, queues), default=0)):
        chosen += [queue[place] for queue in queues if place < len(queue)]
    if total > MOST_HELD_OUT:
        job.note(f"measured on {MOST_HELD_OUT} of {total} held-out rows")
    if not total:
        job.note("no rows are held out: nothing is measured before and after")
    return chosen[:MOST_HELD_OUT]


def glance(measured: Sequence[T], job: Job) -> Sequence[T]:
    """The few held-out rows that are measured while training."""
    if len(measured) > GLANCE:
        job.note(f"while training, {GLANCE} of the {len(measured)} measured rows are looked at")
    return measured[:GLANCE]


def tell_passes(splits: Sequence[Split[T]], step: Step, job: Job) -> None:
    """Say how rows and tokens are shared, and where rows are seen more often than allowed."""
    if step.data is None or step.batch is None or step.schedule is None:
        return
    drawn = step.batch.size * step.schedule.steps
    most = step.data.repeat_at_most
    sizes = [len(split.train) for split in splits]
    counted = [sum(map(mix.tokens, split.train)) for split in splits]
    tell_shares(splits, mix.of_rows(step.data, sizes, counted), counted, job)
    seen = mix.passes(step.data, sizes, counted, drawn)
    for split, times in zip(splits, seen, strict=True):
        if most is not None and times > most:
            job.note(
                f"each row of `{split.name}` is seen {times:.1f} times, over the {most:g} "
                "of repeat_at_most"
            )


def tell_shares(
    splits: Sequence[Split[T]], drawn: Sequence[float], counted: Sequence[int], job: Job
) -> None:
    """Say what share of the rows, and of the trained tokens, comes from each part of a mix."""
    if len(splits) < MIXED:
        return
    each = [tokens / len(split.train) for split, tokens in zip(splits, counted, strict=True)]
    trained = mix.whole([share * length for share, length in zip(drawn, each, strict=True)])
    told = [
        f"`{split.name}` {rows:.1%} of rows, {tokens:.1%} of trained tokens"
        for split, rows, tokens in zip(splits, drawn, trained, strict=True)
    ]
    job.note(f"shares: {'; '.join(told)}")


def need_rows(splits: Iterable[Split[T]], step: Step) -> None:
    """TL312: a part without a row to train on."""
    for split in splits:
        if not split.train:
            fail(
                "TL312",
                "empty-after-filters",
                f"`{split.name}` has no row left to train `{step.name}` on",
                "raise length, or look at the notes above for what was lost",
            )
