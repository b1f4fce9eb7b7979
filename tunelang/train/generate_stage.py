"""`run` for generate: replies to prompts, scored by a judge where one is named, as rows.

Every reply is whole or counted as unfinished; what is left out is said. `rows.jsonl` has the
format that the plan promised; `answers.jsonl` every reply that was drawn, with its score.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunelang.methods.generate import rows as promised
from tunelang.plan.ir import Step
from tunelang.run.store import room, write_json
from tunelang.train import answers, data, gauges, judging, product, voice
from tunelang.train.answers import Question
from tunelang.train.choice import Candidate, Choice, Row, distinct
from tunelang.train.job import Job, fail
from tunelang.train.material import mixture
from tunelang.train.samples import as_text
from tunelang.train.sampling import Reply, Sampling
from tunelang.train.stage import Metrics

NOTED = "replies.jsonl"
SHOWN = 3


@dataclass(frozen=True)
class Made:
    """The replies to one prompt."""

    question: Question
    replies: list[Candidate]


def run(step: Step, job: Job) -> Metrics:
    """Ask, score, choose, and write the rows."""
    job.phase("loading model")
    speaker = voice.opened(step.inputs["model"], job, step.precision)
    job.phase("reading prompts")
    splits = data.load(mixture(step), job)
    asked = answers.questions(
        speaker, [row for split in splits for row in split.train], step.length or 0, job
    )
    tell_held_out(splits, job)
    if not asked:
        fail("TL312", "empty-after-filters", f"`{step.name}` has no prompt left", "raise length")
    each = int(step.fields["replies"])
    wanted = answers.requests(asked, each)
    job.phase("sampling")
    said = answers.answered(speaker, wanted, how(step), (job, NOTED), step.place.micro)
    del speaker  # a judge needs the room
    gc.collect()
    made = judged(step, job, asked, [said[at : at + each] for at in range(0, len(said), each)])
    choice = chooser(step)
    rows = [row for one in made for row in choice(one.question.words, one.replies)]
    tell(choice, rows, job, step)
    metrics = {"before": {}, "after": measured(said, made, step)}
    job.measure("after", len(said), metrics["after"], "its replies")
    write(step, job, (rows, made, metrics))
    return metrics


def how(step: Step) -> Sampling:
    """The sampling of the step's fields."""
    fields = step.fields["sampling"]
    return Sampling(
        int(fields["reply"]),
        float(fields["temperature"]),
        float(fields["top_p"]),
        fields.get("top_k"),
        step.seed,
    )


def chooser(step: Step) -> Choice:
    """What is kept, and the format that the plan promised later stages."""
    value = {**step.fields, "reward": step.inputs.get("reward"), "keep": Kept(step.fields["keep"])}
    form = promised(value.__getitem__).format
    return Choice(step.fields["keep"], form, bool(step.fields["drop_unfinished"]))


class Kept:
    """A step's `keep` as the method reads a recipe's: a name, and values by `get`."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.name = fields["kind"]
        self.get = fields.get


def tell_held_out(splits: Sequence[data.Split[Any]], job: Job) -> None:
    """Prompts that are set aside are for measuring."""
    aside = sum(len(split.held_out) for split in splits)
    if aside:
        job.note(f"{aside} held-out prompts are not answered")


def judged(
    step: Step, job: Job, asked: Sequence[Question], said: Sequence[Sequence[Reply]]
) -> list[Made]:
    """Every reply with its score, where the step names a judge."""
    pairs = [(one, reply) for one, own in zip(asked, said, strict=True) for reply in own]
    scores: list[float | None] = [None] * len(pairs)
    if "reward" in step.inputs:
        job.phase("scoring")
        read = [
            judging.Asked(one.words, reply.text, one.example.place, reply.ended)
            for one, reply in pairs
        ]
        scores = [*judging.scores(step.inputs["reward"], job, step.precision, read)]
    worth = iter(scores)
    return [
        Made(one, [Candidate(reply.text, next(worth), reply.ended) for reply in own])
        for one, own in zip(asked, said, strict=True)
    ]


def tell(choice: Choice, rows: Sequence[Row], job: Job, step: Step) -> None:
    """Say what did not end, what was left out and what came twice; TL312 without any row."""
    tally = choice.tally
    if tally.unfinished and not tally.dropped:
        job.note(
            f"{tally.unfinished} of {tally.seen} replies did not end within "
            f"{step.fields['sampling']['reply']:g} tokens and are kept as they are"
        )
    if tally.dropped:
        job.note(f"{tally.dropped} of {tally.seen} replies did not end and are left out")
    if tally.repeated:
        once = "" if choice.keep["kind"] == "all" else "; each text is taken once"
        job.note(f"{tally.repeated} replies repeat another one to the same prompt{once}")
    if tally.prompts:
        job.note(f"{tally.prompts} prompts have no row: no reply to them is kept")
    if not rows:
        fail(
            "TL312",
            "empty-after-filters",
            f"`{step.name}` keeps no reply at all",
            "lower the score, draw more replies, or keep unfinished ones",
        )


def measured(said: Sequence[Reply], made: Sequence[Made], step: Step) -> dict[str, float]:
    """Figures of all replies, whatever is kept of them."""
    found = answers.figures(said)
    found["distinct"] = sum(len(distinct(one.replies)) for one in made) / len(said)
    scores = [reply.score for one in made for reply in one.replies if reply.score is not None]
    if scores:
        found["reward"] = sum(scores) / len(scores)
        found["best_reward"] = sum(max(r.worth for r in one.replies) for one in made) / len(made)
    gates = [gauges.Gauge(gate.measure, []) for gate in step.gates]
    return found | gauges.measure(gates, found, lambda rows: {})


def write(step: Step, job: Job, made: tuple[Sequence[Row], Sequence[Made], Metrics]) -> None:
    """rows.jsonl, answers.jsonl, metrics.json, samples.json and product.json."""
    rows, lists, metrics = made
    job.phase("saving")
    folder = product.begin(job)
    shown = [
        {"prompt": as_text(one.question.words), "after": one.replies[0].text}
        for one in lists[:SHOWN]
    ]
    with room(job.home, f"the rows of `{step.name}` cannot be written"):
        lines(folder / data.ROWS, rows)
        lines(folder / "answers.jsonl", [whole(one) for one in lists])
        said = {"format": chooser(step).format, "rows": len(rows)}
        product.describe(step, job, {**product.NO_MODEL, **said})
        write_json(folder / "metrics.json", {**metrics, "series": []})
        write_json(folder / "samples.json", shown)
        product.close(step, job)


def whole(made: Made) -> Row:
    """Everything that was drawn for a prompt."""
    replies = [
        {"reply": reply.text, "score": reply.score, "ended": reply.ended} for reply in made.replies
    ]
    return {"prompt": made.question.words, "replies": replies, "from": made.question.example.place}


def lines(path: Path, rows: Sequence[Row]) -> None:
    """A JSON line a row."""
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    path.write_text(text, "utf-8")
