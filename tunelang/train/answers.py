"""Replies to many prompts, written down as they come: a killed stage goes on from those it has.

A file in `work/` holds a line a reply, in the order of the requests; a line that a kill cut in
half is drawn again, from the same numbers.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunelang.train import rows, sampling
from tunelang.train.data import Example
from tunelang.train.job import Job
from tunelang.train.sampling import Reply, Request, Sampling
from tunelang.train.voice import Voice


@dataclass(frozen=True)
class Question:
    """A prompt as it was read, as tokens, and where it stands; `example` is its row."""

    words: Any
    ids: list[int]
    example: Example


def questions(voice: Voice, examples: Sequence[Example], length: int, job: Job) -> list[Question]:
    """The prompts of rows; those without one, or over `length` tokens, are left out aloud."""
    found, without, long = [], 0, 0
    for example in examples:
        words = simple(rows.asked(example, turns=voice.speech.template is not None))
        ids = voice.ids(words, example.place) if words else []
        without += not words
        long += len(ids) > length
        if words and len(ids) <= length:
            found.append(Question(words, ids, example))
    if without:
        job.note(f"{without} rows are left out: nothing is asked in them")
    if long:
        job.note(f"{long} prompts are left out: they are longer than {length} tokens")
    return found


def simple(words: Any) -> Any:
    """One turn of a user is written as a string: it is spoken the same."""
    alone = isinstance(words, list) and len(words) == 1 and words[0]["role"] == "user"
    return words[0]["content"] if alone else words


def requests(asked: Sequence[Question], each: int) -> list[Request]:
    """`each` requests a question, in order; a prompt that comes again is numbered on."""
    seen: Counter[tuple[int, ...]] = Counter()
    made = []
    for one in asked:
        start = seen[tuple(one.ids)]
        made += [Request(one.ids, start + number) for number in range(each)]
        seen[tuple(one.ids)] += each
    return made


def answered(
    voice: Voice,
    wanted: Sequence[Request],
    how: Sampling,
    place: tuple[Job, str],
    at_once: int,
) -> list[Reply]:
    """A reply to every request: those noted in the file, then the rest, `at_once` at a time."""
    job, name = place
    path = job.work / name
    done = noted(path)
    if done:
        job.note(f"going on from {len(done)} of {len(wanted)} replies")
    with path.open("a", encoding="utf-8") as file:
        for group in sampling.in_groups(wanted, at_once, len(done)):
            said = sampling.replies(voice, group, how)
            done += said
            keep(file, said)
            job.emit(
                {"event": "progress", "at": len(done), "of": len(wanted), "metrics": figures(said)}
            )
    return done


def noted(path: Path) -> list[Reply]:
    """The replies of an earlier attempt; the file is cut back to its whole lines."""
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")
    with path.open("r+b") as file:
        file.truncate(len(whole[0]) + len(whole[1]))
    return [Reply(**json.loads(line)) for line in whole[0].splitlines() if line]


def keep(file: Any, said: Sequence[Reply]) -> None:
    """Write replies down, and onto the disk."""
    file.writelines(f"{json.dumps(asdict(reply), ensure_ascii=False)}\n" for reply in said)
    file.flush()
    os.fsync(file.fileno())


def figures(said: Sequence[Reply]) -> dict[str, float]:
    """What can be said of replies without anything to compare them with."""
    return {
        "mean_length": sum(len(reply.ids) for reply in said) / len(said),
        "unfinished": sum(not reply.ended for reply in said) / len(said),
    }
