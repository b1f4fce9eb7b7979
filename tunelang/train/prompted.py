"""A prompted model: a language model and the exemplars that stand before whatever it is asked.

Its object holds no weights of its own: `product.json` names the base and its deltas, so
`model.load` gives the model, `exemplars.jsonl` has the rows, `prompted.json` the settings,
`embeddings.safetensors` [N, H] what questions are compared with. To use one:

    loaded = load(ref, job, precision=...)
    made = prompted.opened(job.store.object(key), job, loaded, lens)
    ids = prompted.prompt(made, "question or turns", "place for messages")
    text = prompted.ended(made, reply)  # a reply in plain text ends where the next exemplar would

Brown et al. 2020 (arXiv 2005.14165).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import Tensor

from tunelang.methods.few_shot import BY_MEANING
from tunelang.plan.ir import ModelRef
from tunelang.run.store import write_json
from tunelang.train import exemplars, questions, speech, templates
from tunelang.train.checkpoint import write_tensors
from tunelang.train.embedding import Encoder, embed
from tunelang.train.evaluate import Lens
from tunelang.train.exemplars import Group, Pool
from tunelang.train.forward import Row
from tunelang.train.job import Job, fail
from tunelang.train.model import Loaded, load_encoder
from tunelang.train.speech import Speech, Text

EXEMPLARS, SETTINGS, EMBEDDINGS = "exemplars.jsonl", "prompted.json", "embeddings.safetensors"
REF: TypeAdapter[ModelRef] = TypeAdapter(ModelRef)


@dataclass(frozen=True)
class Exemplar:
    """A question with its answer, and the row it came from."""

    prompt: Text
    reply: str
    place: str


@dataclass(frozen=True)
class Settings:
    """How exemplars are chosen and written; `share` is MMR's, for `diverse`.

    `length` is the most tokens of a whole prompt; `pattern` is put around what is asked as a
    string, if the rows had one. `embedding` is the model that embeds; None: the model itself.
    """

    select: str
    shots: int
    order: str
    length: int
    separator: str
    share: float
    seed: int
    pattern: str | None = None
    embedding: dict[str, Any] | None = None


@dataclass(frozen=True)
class Prompted:
    """An opened prompted model, without the model itself; `vectors` are [N, H] or None."""

    settings: Settings
    rows: tuple[Exemplar, ...]
    pool: Pool
    speech: Speech
    encoder: Encoder | None
    vectors: Tensor | None


def opened(folder: Path, job: Job, loaded: Loaded, lens: Lens) -> Prompted:
    """The prompted model of an object's folder; `loaded` is what `model.load` gave for it."""
    settings = Settings(**json.loads((folder / SETTINGS).read_text("utf-8")))
    lines = (folder / EXEMPLARS).read_text("utf-8").splitlines()
    rows = [Exemplar(**json.loads(line)) for line in lines]
    vectors = None
    if settings.select in BY_MEANING:
        vectors = load_file(folder / EMBEDDINGS, device=job.device)["vectors"]
    return made(settings, rows, loaded, (encoder_of(settings, job, loaded, lens), vectors))


def made(
    settings: Settings,
    rows: Sequence[Exemplar],
    loaded: Loaded,
    space: tuple[Encoder | None, Tensor | None],
) -> Prompted:
    """A prompted model of these rows; `space` is an encoder and the rows' vectors, made if None."""
    encoder, vectors = space
    keys = [questions.key(row.prompt) for row in rows]
    if encoder is not None and vectors is None:
        vectors = embed(encoder, keys)
    labels = [row.reply for row in rows]
    said = Speech(loaded.tokenizer, loaded.template)
    return Prompted(settings, tuple(rows), exemplars.pool(keys, labels), said, encoder, vectors)


def save(made: Prompted, folder: Path) -> None:
    """Write the exemplars, their embeddings and the settings into an object's folder."""
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in made.rows]
    (folder / EXEMPLARS).write_text("".join(lines), "utf-8")
    if made.vectors is not None:
        write_tensors(folder / EMBEDDINGS, {"vectors": made.vectors})
    write_json(folder / SETTINGS, asdict(made.settings))


def prompt(made: Prompted, asked: Text, place: str) -> list[int]:
    """Token ids of the whole prompt: exemplars, then what is asked, up to where the model speaks.

    At most `length` tokens, fewer exemplars where that many do not fit. A string is put into the
    pattern first. Raises UserError TL310 where what is asked is too long by itself.
    """
    asked = in_pattern(made, asked)
    return written(made, chosen(made, asked, place), asked, place)


def in_pattern(made: Prompted, asked: Text) -> Text:
    """A string, or the last thing a user said, in the pattern that the exemplars were made by."""
    pattern = made.settings.pattern
    if pattern is None:
        return asked
    if isinstance(asked, str):
        return questions.asked(pattern, asked)
    turns = [dict(turn) for turn in asked]
    said = [turn for turn in turns if turn["role"] == "user"]
    if said:
        said[-1]["content"] = questions.asked(pattern, said[-1]["content"])
    return turns


def chosen(made: Prompted, asked: Text, place: str) -> list[int]:
    """The exemplars that stand before a question (in its pattern already), in prompt order."""
    settings = made.settings

    def room(rows: list[int]) -> bool:
        return fits(made, asked, place, exemplars.arranged(rows, settings.order))

    if not room([]):
        fail(
            "TL310",
            "cut-before-answer",
            f"{place}: what is asked is longer than {settings.length} tokens by itself",
            "raise length",
        )
    order = groups(made, questions.key(asked))
    return exemplars.arranged(exemplars.within(order, settings.shots, room), settings.order)


def fits(made: Prompted, asked: Text, place: str, rows: Sequence[int] = ()) -> bool:
    """Whether a prompt with these exemplars is within its length."""
    return len(written(made, rows, asked, place)) <= made.settings.length


def groups(made: Prompted, key: str) -> list[Group]:
    """The exemplars for a question in the order they are taken, itself and its doubles left out."""
    settings, pool = made.settings, made.pool
    rows = exemplars.others(pool, key)
    if settings.select == "random":
        return exemplars.singly(exemplars.drawn(rows, settings.seed, key))
    if settings.select == "balanced":
        return exemplars.balanced(exemplars.drawn(rows, settings.seed, key), pool.labels)
    if settings.select == "bm25":
        scores = exemplars.bm25(pool, rows, key)
        return exemplars.singly(exemplars.ranked(rows, scores.__getitem__))
    near = similar(made, key)
    if settings.select == "nearest":
        return exemplars.singly(exemplars.ranked(rows, near.__getitem__))
    most = settings.shots + exemplars.PASSED_OVER
    return exemplars.singly(
        exemplars.diverse(rows, near.__getitem__, alike(made), settings.share, most)
    )


def similar(made: Prompted, key: str) -> list[float]:
    """The cosine of a question with every exemplar's."""
    if made.encoder is None or made.vectors is None:
        msg = f"{made.settings.select} needs embeddings"
        raise ValueError(msg)
    asked = embed(made.encoder, [key])[0]
    near: list[float] = (made.vectors @ asked).tolist()
    return near


def alike(made: Prompted) -> Any:
    """The cosine of two exemplars, by their rows."""
    vectors = made.vectors
    assert vectors is not None
    return lambda one, other: float(vectors[one] @ vectors[other])


def encoder_of(settings: Settings, job: Job, loaded: Loaded, lens: Lens) -> Encoder | None:
    """The model itself, or the named one; None where nothing is compared by meaning."""
    if settings.select not in BY_MEANING:
        return None
    if settings.embedding is None:
        return Encoder(loaded.model, loaded.tokenizer, lens, settings.length)
    other = load_encoder(REF.validate_python(settings.embedding), job, precision=lens.precision)
    pad = Lens(lens.precision, lens.device, other.tokenizer.pad_token_id)
    made = Encoder(other.model, other.tokenizer, pad, settings.length)
    most = made.positions
    if made.two_sided and most < settings.length:
        job.note(f"texts are compared by their first {most} tokens: the encoder reads no more")
        return replace(made, length=most)
    return made


def written(made: Prompted, rows: Iterable[int], asked: Text, place: str) -> list[int]:
    """Token ids of a prompt with these exemplars, up to where the model speaks."""
    return speech.prompt(made.speech, whole(made, rows, asked), place)


def answered(made: Prompted, rows: Iterable[int], asked: Text, answer: str, place: str) -> Row:
    """The same prompt with an answer, whose tokens are labelled.

    In plain text nothing ends it: there the next exemplar would follow.
    """
    opened = whole(made, rows, asked)
    if isinstance(opened, str) and made.speech.template is None:
        before = speech.prompt(made.speech, opened, place)
        after = templates.encode(made.speech.tokenizer, answer)
        return Row.continued(before, after)
    return speech.row(made.speech, opened, answer, place)


def whole(made: Prompted, rows: Iterable[int], asked: Text) -> Text:
    """Exemplars and what is asked as one text, or as turns.

    With a chat template each exemplar is a turn of the user and one of the assistant, after the
    system message of what is asked.
    """
    shown = [made.rows[row] for row in rows]
    if made.speech.template is None and isinstance(asked, str):
        return "".join(f"{plain(row)}{made.settings.separator}" for row in shown) + asked
    turns = speech.as_turns(asked, "user")
    system = [turn for turn in turns[:1] if turn["role"] == "system"]
    before = [turn for row in shown for turn in taken_turns(row)]
    return [*system, *before, *turns[len(system) :]]


def plain(row: Exemplar) -> str:
    """An exemplar as text: its question with its answer right after it."""
    if not isinstance(row.prompt, str):
        fail("TL401", "no-chat-template", f"{row.place}: turns, and the model has no chat template")
    return f"{row.prompt}{row.reply}"


def taken_turns(row: Exemplar) -> list[templates.Message]:
    """An exemplar as turns, without a system message of its own."""
    asked = [turn for turn in speech.as_turns(row.prompt, "user") if turn["role"] != "system"]
    return [*asked, {"role": "assistant", "content": row.reply}]


def ended(made: Prompted, reply: str) -> str:
    """A reply up to where the model would go on with an exemplar of its own, in plain text."""
    if made.speech.template is not None:
        return reply
    return reply.split(made.settings.separator, 1)[0]
