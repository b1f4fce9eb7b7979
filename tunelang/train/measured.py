"""Sets of rows that are measured together: the step's own, and one for every gate on other rows.

All sets pass through the same phases, so that each model is loaded once: tokens, answers, answers
of the other model, scores.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field

from tunelang.methods.evaluate import ANSWERED
from tunelang.plan.ir import Step
from tunelang.train import (
    answers,
    evaluate,
    generate_stage,
    judging,
    rows,
    speech,
    text_metrics,
    voice,
)
from tunelang.train.answers import Question
from tunelang.train.data import Example
from tunelang.train.forward import Row
from tunelang.train.job import Job, fail
from tunelang.train.rows import Writer
from tunelang.train.sampling import Reply
from tunelang.train.text_metrics import mean_and_error
from tunelang.train.voice import Voice

AGAINST = {
    "exact_match": text_metrics.exact_match,
    "f1": text_metrics.f1,
    "rouge_l": text_metrics.rouge_l,
}


@dataclass
class Set:
    """Rows, the metrics wanted of them, and what is found; `name` is a gate's text, or empty.

    `each` has a value for every question by metric, `other` what the other model said.
    """

    name: str
    rows: list[Example]
    wanted: frozenset[str]
    figures: dict[str, float] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)
    said: list[Reply] = field(default_factory=list)
    other: list[Reply] = field(default_factory=list)
    each: dict[str, list[float]] = field(default_factory=dict)

    @property
    def references(self) -> list[str]:
        return [speech.said(one.example.values) or "" for one in self.asked]

    @property
    def answered(self) -> bool:
        return bool(self.wanted & set(ANSWERED))


def measure(step: Step, job: Job, sets: Sequence[Set]) -> None:
    """Every figure of a model that writes."""
    job.phase("loading model")
    for each in sets:
        each.rows = [with_label_as_reply(example) for example in each.rows]
    speaker = voice.opened(step.inputs["model"], job, step.precision)
    job.phase("measuring")
    for each in sets:
        each.figures |= tokens(speaker, each, step, job)
    job.phase("answering")
    for number, each in enumerate(sets):
        if each.answered:
            each.asked = questions(speaker, each, step, job)
            each.said = answer(speaker, each, step, (job, f"answers-{number}.jsonl"))
    del speaker  # the next model needs the room
    gc.collect()
    versus(step, job, sets)
    judged(step, job, sets)
    for each in sets:
        compare(each)
        each.figures |= summed(each)


def with_label_as_reply(example: Example) -> Example:
    """A labelled row as what a model that writes is asked: its text, answered by its label."""
    if example.kind != "labelled":
        return example
    values = {"prompt": str(example.values["text"]), "reply": str(example.values["label"])}
    return Example("instruct", values, example.place)


# --- tokens --------------------------------------------------------------------------------------


def tokens(speaker: Voice, of: Set, step: Step, job: Job) -> dict[str, float]:
    """`loss`, `perplexity` and `token_accuracy` of the replies (of all tokens of a text)."""
    wanted = of.wanted - set(ANSWERED)
    if not wanted:
        return {}
    writer = Writer(speaker.speech, step.length or 0, "reply")
    with_reply = [each for each in of.rows if each.kind != "prompt"]
    made = [row for example in with_reply for row in written(speaker, writer, example)]
    if not made:
        fail(
            "TL302",
            "wrong-format",
            f"no row has a reply whose {' and '.join(sorted(wanted))} could be measured",
            "name metrics of answers, or rows with replies",
        )
    if writer.tally.cut or writer.tally.lost:
        job.note(
            f"{writer.tally.cut} of {writer.tally.seen} rows are longer than {step.length} tokens "
            f"and are cut, {writer.tally.lost} have no reply within them and are left out"
        )
    found = evaluate.measure(speaker.model, made, speaker.lens)
    return {name: found[name] for name in wanted if name in found}


def written(speaker: Voice, writer: Writer, example: Example) -> list[Row]:
    """A row as it is measured; a prompted model reads its exemplars before the prompt."""
    if speaker.prompted is None or example.kind == "text":
        return writer(example)
    whole = rows.tokens_of(speaker.speech, example)
    words = rows.asked(example, turns=speaker.speech.template is not None) or ""
    before = speaker.ids(words, example.place)
    said = [token for token, mine in zip(whole.ids, whole.trained, strict=True) if mine]
    return [Row.continued(before, said)]


# --- answers -------------------------------------------------------------------------------------


def questions(speaker: Voice, of: Set, step: Step, job: Job) -> list[Question]:
    """What is asked: rows with a reference where one is compared with."""
    asked = answers.questions(speaker, of.rows, step.length or 0, job)
    needs = of.wanted & set(AGAINST) or ("win_rate" in of.wanted and "versus" not in step.inputs)
    kept = [one for one in asked if not needs or speech.said(one.example.values) is not None]
    if len(kept) < len(asked):
        job.note(f"{len(asked) - len(kept)} rows are left out: there is no reply to compare with")
    if not kept:
        fail("TL312", "empty-after-filters", "no question is left to answer", "raise length")
    return kept


def answer(speaker: Voice, of: Set, step: Step, place: tuple[Job, str]) -> list[Reply]:
    """One answer to every question of a set."""
    wanted = answers.requests(of.asked, 1)
    how = generate_stage.how(step)
    return answers.answered(speaker, wanted, how, place, step.place.micro)


def versus(step: Step, job: Job, sets: Sequence[Set]) -> None:
    """The other model's answers to the same questions, drawn in the same way."""
    asking = [each for each in enumerate(sets) if "win_rate" in each[1].wanted]
    if "versus" not in step.inputs or not asking:
        return
    job.phase("the other model answers")
    speaker = voice.opened(step.inputs["versus"], job, step.precision)
    for number, each in asking:
        words = [one.words for one in each.asked]
        places = [one.example.place for one in each.asked]
        ids = [speaker.ids(*pair) for pair in zip(words, places, strict=True)]
        theirs = [
            Question(one.words, own, one.example) for one, own in zip(each.asked, ids, strict=True)
        ]
        wanted = answers.requests(theirs, 1)
        at = (job, f"versus-{number}.jsonl")
        how = generate_stage.how(step)
        each.other = answers.answered(speaker, wanted, how, at, step.place.micro)
    del speaker
    gc.collect()


# --- scores --------------------------------------------------------------------------------------


def judged(step: Step, job: Job, sets: Sequence[Set]) -> None:
    """The judge's scores of answers, and of what they are compared with."""
    asking = [each for each in sets if each.wanted & {"reward", "win_rate"}]
    if not asking:
        return
    job.phase("scoring")
    rivals = [each for each in asking if "win_rate" in each.wanted]
    said = [*(each.said for each in asking), *(rival(each) for each in rivals)]
    found = scores(step, job, [*asking, *rivals], said)
    for each, values in zip(asking, found, strict=False):
        each.each["reward"] = values
    for each, values in zip(rivals, found[len(asking) :], strict=True):
        pairs = zip(each.each["reward"], values, strict=True)
        each.each["win_rate"] = [text_metrics.win(own, other) for own, other in pairs]


def rival(of: Set) -> list[Reply]:
    """What the answers are compared with: the other model's, or the rows' own replies."""
    return of.other or [Reply([], text, True) for text in of.references]


def scores(
    step: Step, job: Job, sets: Sequence[Set], said: Sequence[Sequence[Reply]]
) -> list[list[float]]:
    """A score for every reply of every set, from one loading of the judge."""
    read = [
        judging.Asked(one.words, reply.text, one.example.place, reply.ended)
        for each, replies in zip(sets, said, strict=True)
        for one, reply in zip(each.asked, replies, strict=True)
    ]
    if not read:
        return [[] for _ in sets]
    found = iter(judging.scores(step.inputs["judge"], job, step.precision, read))
    return [[next(found) for _ in replies] for replies in said]


def compare(of: Set) -> None:
    """Every answer against its reference, and its length."""
    for name in sorted(of.wanted & set(AGAINST)):
        pairs = zip(of.said, of.references, strict=True)
        of.each[name] = [AGAINST[name](reply.text, wanted) for reply, wanted in pairs]
    if of.answered:
        of.each["mean_length"] = [float(len(reply.ids)) for reply in of.said]


def summed(of: Set) -> dict[str, float]:
    """Means over questions with their standard errors, and the share that did not end."""
    found: dict[str, float] = {}
    for name, values in of.each.items():
        if not values:
            continue
        found[name], error = mean_and_error(values)
        if error is not None:
            found[f"{name}_se"] = error
    if of.said:
        found["unfinished"] = sum(not reply.ended for reply in of.said) / len(of.said)
    return found
