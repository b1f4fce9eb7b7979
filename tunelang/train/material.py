"""What a supervised step learns from and is measured on: rows read, worded, written, packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunelang.plan.ir import Measure, Mixture, Step
from tunelang.train import data, gauges, packing, rows, selfcheck, templates, wordings
from tunelang.train.data import Split
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.job import Job
from tunelang.train.model import Loaded
from tunelang.train.rows import Writer
from tunelang.train.speech import Speech


@dataclass(frozen=True)
class Material:
    """What a step learns from and is measured on; `beside` are rows with metrics of their own."""

    parts: list[Split[Row]]
    measured: list[Row]
    asked: list[Any]
    writer: Writer
    lens: Lens
    beside: Mapping[str, list[Row]] = field(default_factory=dict)


def manner(step: Step) -> str:
    """The method whose way of writing rows a step follows: esft takes text and conversations,
    multi_task conversations."""
    if step.method == "multi_task":
        return "instruction_tuning"
    if step.method != "esft":
        return step.method
    kind = mixture(step).parts[0].format.kind
    return "domain_adaptation" if kind == "text" else "instruction_tuning"


def speak(step: Step, job: Job, start: Loaded) -> Speech:
    """How rows are written: through a chat template for instruction tuning, else as text."""
    if manner(step) == "instruction_tuning":
        wanted = step.fields.get("template")
        return Speech(start.tokenizer, templates.choose(start.tokenizer, wanted, job))
    return Speech(start.tokenizer, None)


def spoken_template(step: Step, speech: Speech, start: Loaded) -> str | None:
    """The template the product speaks: sft on strings teaches plain text, text teaches none."""
    if manner(step) == "domain_adaptation":
        return start.template
    return speech.template


def gather(step: Step, job: Job, speech: Speech) -> Material:
    """Read, write as tokens, pack; check the masks."""
    loaded = data.load(mixture(step), job)
    default = "all" if manner(step) == "domain_adaptation" else "reply"
    writer = Writer(speech, step.length or 0, str(step.fields.get("loss_on", default)))
    encoded = [data.encode(split, writer) for split in loaded]
    rows.report(writer, job, step.name)
    data.need_rows(encoded, step)
    replies = writer.loss_on != "all" and default != "all"
    first = [row for split in encoded for row in split.train]
    selfcheck.masks(job, first, speech.stop, replies=replies)
    selfcheck.one_bos(job, first, speech.tokenizer.bos_token_id)
    measured = data.spread(own(step, encoded), job)
    beside = {**general(step, job, writer), **other_wordings(step, job, writer)}
    if step.fields.get("packing"):
        encoded = [packed(split, writer.length, job) for split in encoded]
    data.tell_passes(encoded, step, job)
    asked = [
        rows.asked(example, turns=speech.template is not None)
        for split in loaded
        for example in split.held_out
    ]
    lens = Lens(step.precision, job.device, speech.tokenizer.pad_token_id)
    shown = [one for one in asked if one is not None]
    return Material(encoded, measured, shown, writer, lens, beside)


def own(step: Step, parts: list[Split[Row]]) -> list[Split[Row]]:
    """The parts that are the step's own: all but general text that it replays."""
    return parts[:-1] if step.fields.get("replay") else parts


def general(step: Step, job: Job, writer: Writer) -> dict[str, list[Row]]:
    """The general text that forgetting is measured on."""
    if step.general is None:
        return {}
    if step.general.hold_out is None:
        job.note(
            f"no rows of `{step.general.name}` are held out: forgetting is measured on all of it, "
            + ("rows that are replayed too" if step.fields.get("replay") else "none is trained on")
        )
    wanted = Measure(text="forgetting", metric="forgetting", data=step.general)
    return {"general": gauges.rows_of(wanted, job, again(writer))}


def other_wordings(step: Step, job: Job, writer: Writer) -> dict[str, list[Row]]:
    """The held-out rows of parts that have wordings which are never trained, in these."""
    parts = wordings.unseen(mixture(step).parts)
    if not parts:
        return {}
    write = again(writer)
    held = [data.load_part(part, job).held_out for part in parts]
    made = [data.encode(Split("", [], rows), write) for rows in held]
    return {"template": data.spread(made, job)}


def again(writer: Writer) -> Writer:
    """The same writing with a count of its own: what it writes is not trained on."""
    return Writer(writer.speech, writer.length, writer.loss_on)


def packed(split: Split[Row], length: int, job: Job) -> Split[Row]:
    """The training rows of a part packed into sequences of at most `length` tokens."""
    sequences = packing.pack(split.train, length)
    job.note(f"`{split.name}`: {len(split.train)} rows are packed into {len(sequences)} sequences")
    return Split(split.name, sequences, split.held_out)


def mixture(step: Step) -> Mixture:
    """The step's data; every step that learns from rows has some."""
    if step.data is None:
        msg = f"step {step.name} has no data"
        raise ValueError(msg)
    return step.data
