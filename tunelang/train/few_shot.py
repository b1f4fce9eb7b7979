"""`run` for few_shot in context: nothing trains; exemplars are indexed, and what they gain is told.

Before is the question alone (zero-shot), after is with exemplars, on the same held-out rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tunelang.plan.ir import Step
from tunelang.run.store import room, write_json
from tunelang.train import (
    choosing,
    data,
    evaluate,
    exemplars,
    forward,
    gauges,
    generate,
    product,
    prompted,
    questions,
    samples,
)
from tunelang.train.choosing import Choices
from tunelang.train.data import Split
from tunelang.train.embedding import Encoder
from tunelang.train.evaluate import Lens
from tunelang.train.folders import json_of
from tunelang.train.forward import Row
from tunelang.train.job import Job, fail
from tunelang.train.material import mixture
from tunelang.train.model import Loaded, load
from tunelang.train.prompted import Exemplar, Prompted, Settings
from tunelang.train.questions import Question
from tunelang.train.speech import Speech
from tunelang.train.stage import Metrics


@dataclass(frozen=True)
class Bench:
    """What questions are put to: the model, and what may stand before them."""

    model: Any
    made: Prompted
    lens: Lens


def run(step: Step, job: Job) -> Metrics:
    """Index the exemplars, measure without and with them, and write the product."""
    job.phase("loading model")
    start = load(step.inputs["model"], job, precision=step.precision)
    lens = Lens(step.precision, job.device, start.tokenizer.pad_token_id)
    job.phase("reading data")
    loaded = data.load(mixture(step), job)
    asking = questions.asking(
        Speech(start.tokenizer, start.template), loaded, step.fields["mode"], job
    )
    parts = [data.encode(split, asking) for split in loaded]
    data.need_rows(parts, step)
    job.phase("indexing exemplars")
    bench = Bench(start.model, index(step, job, start, lens, parts), lens)
    asked = data.spread(parts, job)
    gates = gauges.prepare(step, job, asking)
    job.phase("measuring")
    metrics = {}
    for when, shots in (("before", False), ("after", True)):
        take = partial(measure, bench, job, shots)
        own = take(asked)
        metrics[when] = own | gauges.measure(gates, own, take)
        job.measure(when, 0, metrics[when])
    shown = compare(bench, asked, job)
    write(step, job, start, bench.made, (metrics, shown))
    return metrics


def index(
    step: Step, job: Job, start: Loaded, lens: Lens, parts: Sequence[Split[Question]]
) -> Prompted:
    """The prompted model of the training rows; TL531 where not one of them fits."""
    rows = [Exemplar(one.prompt, one.answer, one.place) for part in parts for one in part.train]
    settings = settings_of(step, labelled=mixture(step).parts)
    encoder: Encoder | None = prompted.encoder_of(settings, job, start, lens)
    made = prompted.made(settings, rows, start, (encoder, None))
    sizes = [len(prompted.written(made, [at], "", row.place)) for at, row in enumerate(rows)]
    long = sum(size > settings.length for size in sizes)
    if long == len(rows):
        fail(
            "TL531",
            "no-exemplar-fits",
            f"every exemplar of `{step.name}` is longer than {settings.length} tokens: the "
            f"shortest has {min(sizes)}",
            "raise length, or give shorter rows",
        )
    if long:
        job.note(f"{long} of {len(rows)} rows are never exemplars: they fill the whole prompt")
    tell(made, job)
    return made


def settings_of(step: Step, labelled: Sequence[Any]) -> Settings:
    """The step's values as the product keeps them."""
    mode, other = step.fields["mode"], step.inputs.get("embedding")
    pattern = any(part.format.kind == "labelled" for part in labelled)
    return Settings(
        str(mode["select"]),
        int(mode["shots"]),
        str(mode["order"]),
        step.length or 0,
        str(mode["separator"]),
        float(mode["share"]),
        step.seed,
        str(mode["pattern"]) if pattern else None,
        json_of(other) if other else None,
    )


def tell(made: Prompted, job: Job) -> None:
    """Say what of the settings the rows cannot give."""
    shots, rows = made.settings.shots, len(made.rows)
    if shots > rows:
        job.note(f"shots = {shots}, and there are {rows} rows: all of them are exemplars")
    if made.settings.select != "balanced":
        return
    names = sorted(set(made.pool.labels))
    rounds = min(made.pool.labels.count(name) for name in names)
    said = f"{len(names)} answers in rounds of one row each: at most {rounds} rounds"
    short = shots % len(names)
    job.note(f"{said}, and {short} shots that make no whole round are not used" if short else said)


def measure(bench: Bench, job: Job, shots: bool, asked: Sequence[Question]) -> dict[str, float]:
    """Loss, perplexity and token accuracy of right answers, and accuracy among the choices."""
    fitting = [one for one in asked if prompted.fits(bench.made, one.prompt, one.place)]
    if len(fitting) < len(asked):
        gone = len(asked) - len(fitting)
        job.note(f"{gone} of {len(asked)} questions are not measured: too long by themselves")
    before = [exemplars_of(bench, one) if shots else [] for one in fitting]
    if shots and fitting:
        watch(bench, fitting, before, job)
    right, choices = [], []
    for one, rows in zip(fitting, before, strict=True):
        answers = one.choices or (one.answer,)
        every = [answer(bench.made, rows, one, text) for text in answers]
        place = one.right if one.choices else 0
        right.append(every[place])
        choices.append(Choices(every, place))
    own = evaluate.measure(bench.model, right, bench.lens)
    return own | choosing.accuracy(bench.model, choices, bench.lens)


def exemplars_of(bench: Bench, one: Question) -> list[int]:
    """The rows that stand before a question."""
    return prompted.chosen(bench.made, one.prompt, one.place)


def answer(made: Prompted, rows: Sequence[int], one: Question, text: str) -> Row:
    """A question with one answer, after its exemplars."""
    return prompted.answered(made, rows, one.prompt, text, one.place)


def watch(
    bench: Bench, asked: Sequence[Question], before: Sequence[Sequence[int]], job: Job
) -> None:
    """No question sees itself (guard L35); how many exemplars stand before one is told."""
    keys = [exemplars.folded(questions.key(one.prompt)) for one in asked]
    pool = bench.made.pool.keys
    seen = sum(key in {pool[row] for row in rows} for key, rows in zip(keys, before, strict=True))
    trouble = ("a question is among its own exemplars", "")
    job.check("no-question-sees-itself", seen, seen == 0, trouble)
    counts = [len(rows) for rows in before]
    fewer = sum(count < bench.made.settings.shots for count in counts)
    mean = sum(counts) / len(counts)
    job.note(
        f"{mean:.1f} exemplars stand before a question; {fewer} of {len(counts)} questions "
        f"have fewer than {bench.made.settings.shots}"
    )


def compare(bench: Bench, asked: Sequence[Question], job: Job) -> list[dict[str, str]]:
    """A few questions answered without and with exemplars."""
    fitting = [one for one in asked if prompted.fits(bench.made, one.prompt, one.place)]
    few = fitting[: samples.PROMPTS]
    before = replies(bench, few, [[] for _ in few])
    after = replies(bench, few, [exemplars_of(bench, one) for one in few])
    shown = [
        {"prompt": questions.key(one.prompt), "before": was, "after": now}
        for one, was, now in zip(few, before, after, strict=True)
    ]
    if shown:
        job.emit({"event": "samples", "samples": shown})
    return shown


def replies(bench: Bench, asked: Sequence[Question], before: Sequence[Sequence[int]]) -> list[str]:
    """Greedy replies, ended where the next exemplar would begin."""
    if not asked:
        return []
    made = bench.made
    pairs = zip(asked, before, strict=True)
    ids = [prompted.written(made, rows, one.prompt, one.place) for one, rows in pairs]
    sampling = generate.Sampling(samples.TOKENS, frozenset(made.speech.stop))
    with forward.autocast(bench.lens.precision, bench.lens.device):
        written = generate.replies(bench.model, ids, bench.lens.pad, sampling)
    texts = [made.speech.tokenizer.decode(one, skip_special_tokens=True) for one in written]
    return [prompted.ended(made, text).strip() for text in texts]


def write(
    step: Step,
    job: Job,
    start: Loaded,
    made: Prompted,
    told: tuple[Metrics, Sequence[dict[str, str]]],
) -> None:
    """The product: no weights of its own, the exemplars and how they are chosen."""
    job.phase("saving")
    folder = product.begin(job)
    metrics, shown = told
    with room(job.home, f"the product of `{step.name}` cannot be written"):
        start.tokenizer.save_pretrained(folder / "tokenizer")
        prompted.save(made, folder)
        known = start.origin
        said = {"base": json_of(known.base), "quant": known.quant, "deltas": list(known.deltas)}
        product.describe(step, job, said | {"template_sha256": product.digest(start.template)})
        write_json(folder / "metrics.json", {**metrics, "series": []})
        write_json(folder / "samples.json", list(shown))
        product.close(step, job)
