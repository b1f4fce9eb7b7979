"""P18 over a real model: what stands before a question, and that the kept object gives the same.

Seen to fail, each in a test that states the fact: vectors that are not at unit length, or of the
last token; a prompt that leaves the pattern out; a budget of one token more; `whole` with the
exemplars in reverse; metrics taken without the exemplars; a reply that is never ended.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from few import labelled, moods, prompted_step
from workshop import TINY, Shop, instructions, part

from tunelang.errors import UserError
from tunelang.plan.ir import (
    DataPart,
    FolderModel,
    Gate,
    HoldOut,
    Measure,
    Mixture,
    Step,
    StoreModel,
)
from tunelang.train import embedding, exemplars, prompted, questions
from tunelang.train.embedding import Encoder
from tunelang.train.evaluate import Lens
from tunelang.train.model import Loaded
from tunelang.train.prompted import Prompted
from tunelang.train.speech import Speech

LENS = Lens("fp32", "cpu", 0)
DATA = labelled(moods(24))


def kept(shop: Shop, key: str) -> tuple[Prompted, Loaded]:
    """A published object, opened as every user of it does."""
    loaded = shop.load(key)
    job = shop.job(prompted_step(key, DATA))
    return prompted.opened(shop.store.object(key), job, loaded, LENS), loaded


def exact_cosines(loaded: Loaded, texts: list[str]) -> torch.Tensor:
    """Cosines [N, N] in fp64, each text alone through the model, no padding, no batch."""
    vectors = []
    for text in texts:
        ids = torch.tensor([loaded.tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            states = loaded.model(ids, output_hidden_states=True).hidden_states[-1][0]
        vectors.append(states.double().mean(0))
    found = torch.stack(vectors)
    return torch.nn.functional.cosine_similarity(found[:, None], found[None], dim=-1)


def test_nearest_is_what_brute_force_finds(shop: Shop) -> None:
    """For every row as the question: the same rows in the same order, its doubles left out.

    Five texts stand twice in the pool, in two cases: their ties go to the earlier row.
    """
    rows = moods(10)
    rows += [{**row, "text": row["text"].upper()} for row in rows[:5]]
    rows += [dict(row) for row in rows[5:8]]
    shop.run(prompted_step("nearest", labelled(rows, 4), select="nearest", shots=6, length=400))
    made, loaded = kept(shop, "nearest")
    keys = [questions.key(row.prompt) for row in made.rows]
    cosines = exact_cosines(loaded, keys)
    for question, key in enumerate(keys):
        allowed = [at for at, other in enumerate(keys) if other.lower() != key.lower()]
        near = [round(float(cosines[question, at]), 6) for at in allowed]
        brute = sorted(range(len(allowed)), key=lambda at: (-near[at], at))
        expected = [allowed[at] for at in brute[:6]]
        asked = key.removesuffix(" is")
        chosen = prompted.chosen(made, prompted.in_pattern(made, asked), "here")
        assert list(reversed(chosen)) == expected


def bert(shop: Shop, folder: Path) -> FolderModel:
    """A tiny BERT with random weights, its own marks and room for 48 tokens."""
    from transformers import AutoConfig, AutoModel

    tokenizer = shop.load().tokenizer
    tokenizer.model_max_length = 48
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        "bert", vocab_size=384, intermediate_size=64, max_position_embeddings=48, **shape
    )
    torch.manual_seed(1)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return FolderModel(path=str(folder), fingerprint="x")


def test_an_encoder_reads_its_texts_alone(shop: Shop, tmp_path: Path) -> None:
    """`embedding` may be a BERT: beside longer texts as alone, and equal to the mean of the states
    that transformers gives for the text without padding; the object finds it again.

    Seen to fail with the padding seen, and with the mean over padding.
    """
    from transformers import AutoModel, AutoTokenizer

    ref = bert(shop, tmp_path)
    step = prompted_step("other", DATA, select="nearest", inputs={"embedding": ref})
    shop.run(step)
    assert any("first 48 tokens" in text for text in shop.said("other", "note"))
    made, _ = kept(shop, "other")
    assert made.encoder is not None and made.encoder.two_sided
    texts = ["sun", "the cat sat on the mat", "a dog ran in the park and the sun was red " * 9]
    together = embedding.embed(made.encoder, texts)
    plain, tokenizer = AutoModel.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text, found in zip(texts, together, strict=True):
        ids = tokenizer(text, truncation=True, max_length=48, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            mean = plain.eval()(input_ids=ids).last_hidden_state[0].mean(0)
        assert torch.allclose(found, mean / mean.norm(), atol=1e-5)
    assert made.vectors is not None
    keys = [questions.key(row.prompt) for row in made.rows]
    assert torch.allclose(made.vectors, embedding.embed(made.encoder, keys), atol=1e-6)


def test_embeddings_are_unit_vectors_that_batches_do_not_change(shop: Shop) -> None:
    """Norm 1; alone or among longer texts the same to 1e-6; equal texts to the bit."""
    loaded = shop.load()
    encoder = Encoder(loaded.model, loaded.tokenizer, LENS, 64)
    texts = ["sun", "a cat sat on the red mat in the park", "sun"]
    together = embedding.embed(encoder, texts)
    assert torch.allclose(together.norm(dim=-1), torch.ones(3), atol=1e-6)
    assert torch.equal(together[0], together[2])
    assert torch.allclose(together[:1], embedding.embed(encoder, ["sun"]), atol=1e-6)


@pytest.mark.parametrize("select", ["random", "balanced", "nearest", "bm25", "diverse"])
def test_every_way_keeps_the_budget_and_the_answer_apart(shop: Shop, select: str) -> None:
    """At lengths from one that holds no exemplar to one that holds all shots.

    The whole prompt is never longer, the question stands at its end, and neither it nor a double is
    among its exemplars. Opened twice, the object gives the same tokens.
    """
    shop.run(prompted_step("ways", DATA, select=select, shots=6))
    made, loaded = kept(shop, "ways")
    again, _ = kept(shop, "ways")
    question = made.rows[3]
    assert isinstance(question.prompt, str)
    text = question.prompt.removesuffix(" is").upper()
    counts = []
    for length in (60, 120, 240, 480):
        tight = replace(made, settings=replace(made.settings, length=length))
        ids = prompted.prompt(tight, text, "here")
        assert len(ids) <= length
        shown = loaded.tokenizer.decode(ids)
        assert shown.count(f"{text} is") == 1
        assert shown.rindex(" is") == shown.index(f"{text} is") + len(text)
        taken = prompted.chosen(tight, prompted.in_pattern(tight, text), "here")
        assert 3 not in taken
        counts.append(len(taken))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] <= 6
    assert prompted.prompt(made, text, "here") == prompted.prompt(again, text, "here")


def test_the_budget_is_exact_to_the_token(shop: Shop) -> None:
    """Over 60 lengths in a row no prompt is longer, and some are exactly as long."""
    shop.run(prompted_step("exact", DATA))
    made, _ = kept(shop, "exact")
    spare = []
    for length in range(90, 150):
        tight = replace(made, settings=replace(made.settings, length=length))
        spare.append(length - len(prompted.prompt(tight, "sun sun", "here")))
    assert min(spare) == 0


def test_balanced_prompts_have_as_many_of_each_class(shop: Shop) -> None:
    """Two classes, 4 shots: two and two before every question, whatever its length allows."""
    shop.run(prompted_step("even", DATA, select="balanced"))
    made, _ = kept(shop, "even")
    for text in ("sun sun", "mat red mat", "anything else at all"):
        taken = prompted.chosen(made, prompted.in_pattern(made, text), "here")
        labels = [made.rows[row].reply for row in taken]
        assert sorted(labels) == ["calm", "calm", "wild", "wild"]


def test_the_text_of_a_prompt(shop: Shop) -> None:
    """Plain text, written out: exemplar, separator, exemplar, separator, question."""
    shop.run(prompted_step("written", DATA, select="bm25", shots=2, order="best_first"))
    made, loaded = kept(shop, "written")
    plain = replace(made, speech=Speech(made.speech.tokenizer, None))
    asked = f"{made.rows[0].prompt}"
    first, second = prompted.chosen(plain, asked, "here")
    shown = [f"{made.rows[row].prompt}{made.rows[row].reply}\n\n" for row in (first, second)]
    ids = prompted.written(plain, [first, second], asked, "here")
    assert ids == loaded.tokenizer("".join(shown) + asked)["input_ids"]
    assert prompted.ended(plain, " calm\n\nsun is wild") == " calm"


def test_exemplars_are_turns_where_the_model_takes_turns(shop: Shop) -> None:
    """System message first, then user and assistant for each exemplar, then the question."""
    data = Mixture(parts=[part("instruct", instructions())])
    shop.run(prompted_step("turns", data, shots=2))
    made, _ = kept(shop, "turns")
    asked = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "say sun"}]
    rows = prompted.chosen(made, asked, "here")
    turns = prompted.whole(made, rows, asked)
    assert [turn["role"] for turn in turns] == [
        "system",
        *("user", "assistant") * len(rows),
        "user",
    ]
    assert turns[2]["content"] == made.rows[rows[0]].reply


def test_metrics_are_of_the_question_alone_and_after_its_exemplars(shop: Shop) -> None:
    """The loss before and after, computed again from the prompts of the kept object by hand."""
    metrics = shop.run(prompted_step("gain", DATA, select="nearest"))
    made, loaded = kept(shop, "gain")
    shown = {row.prompt for row in made.rows}
    held = [row for row in moods(24) if f"{row['text']} is" not in shown]
    assert len(held) == 16
    found: dict[str, list[float]] = {"before": [0.0, 0], "after": [0.0, 0]}
    for row in held:
        asked = f"{row['text']} is"
        for when in found:
            rows = prompted.chosen(made, asked, "here") if when == "after" else []
            said = prompted.answered(made, rows, asked, row["label"], "here")
            with torch.no_grad():
                logits = loaded.model(torch.tensor([said.ids])).logits[0].log_softmax(-1)
            for at in range(1, len(said.ids)):
                if said.labels[at] >= 0:
                    found[when][0] -= float(logits[at - 1, said.labels[at]])
                    found[when][1] += 1
    for when, (total, count) in found.items():
        assert metrics[when]["loss"] == pytest.approx(total / count, rel=1e-5)
    assert metrics["before"]["loss"] != metrics["after"]["loss"]


def test_another_model_can_compare(shop: Shop) -> None:
    """With `embedding` the vectors are that model's, and the object remembers which."""
    ref = StoreModel(key=TINY)
    step = prompted_step("other", DATA, select="nearest", inputs={"embedding": ref})
    shop.run(step)
    made, _ = kept(shop, "other")
    assert made.settings.embedding == {"kind": "store", "key": TINY}
    assert made.encoder is not None
    assert made.vectors is not None
    assert made.vectors.shape == (32, 64)


def test_no_exemplar_fits(shop: Shop) -> None:
    """A budget that holds no exemplar is told with the shortest one's length, not ignored."""
    with pytest.raises(UserError) as told:
        shop.run(prompted_step("tiny-budget", DATA, length=3))
    assert told.value.diagnostic.code == "TL531"


def test_a_question_over_the_budget_is_told(shop: Shop) -> None:
    """Left out of the measurement aloud; asked for alone, a diagnostic."""
    rows = moods(24)
    long = [{"text": " ".join(["sun"] * 90), "label": "calm"}]
    shop.run(prompted_step("long", labelled(rows + long, 48), length=80))
    notes = " ".join(shop.said("long", "note"))
    assert "1 of 48 questions are not measured" in notes
    made, _ = kept(shop, "long")
    with pytest.raises(UserError) as told:
        prompted.prompt(made, long[0]["text"], "here")
    assert told.value.diagnostic.code == "TL310"


def test_doubles_of_held_out_rows_are_never_shown(shop: Shop) -> None:
    """A held-out text that stands in the pool under another label cannot give an answer away."""
    rows = moods(16)
    rows += [{"text": row["text"].upper(), "label": row["label"]} for row in rows]
    data = Mixture(parts=[part("labelled", rows, hold_out=HoldOut(rows=20))])
    shop.run(prompted_step("doubles", data, select="nearest"))
    checks = [each for each in shop.events("doubles") if each["event"] == "check"]
    assert [(each["name"], each["value"]) for each in checks] == [("no-question-sees-itself", 0)]
    made, _ = kept(shop, "doubles")
    doubled = [row["text"] for row in rows]
    for text in doubled:
        asked = prompted.in_pattern(made, text)
        own = exemplars.folded(questions.key(asked))
        shown = prompted.chosen(made, asked, "here")
        assert own not in {made.pool.keys[row] for row in shown}


def test_gates_measure_other_rows(shop: Shop) -> None:
    """On other labelled rows the same metrics; rows that ask nothing, and new labels, are told."""
    other = part("labelled", moods(9, seed=11), hold_out=None)

    def gated(key: str, data: DataPart) -> Step:
        taken = Measure(text="accuracy(other)", metric="accuracy", data=data)
        gate = Gate(measure=taken, compare=">=", bound=0.0, enforce=True, place="r.tune:1")
        return prompted_step(key, DATA).model_copy(update={"gates": [gate]})

    metrics = shop.run(gated("gated", other))
    assert 0 <= metrics["after"]["accuracy(other)"] <= 1
    for rows, code in (
        (part("text", [{"text": "sun"}], hold_out=None), "TL302"),
        (part("labelled", [{"text": "sun", "label": "grey"}], hold_out=None), "TL738"),
    ):
        with pytest.raises(UserError) as told:
            shop.run(gated(code, rows))
        assert told.value.diagnostic.code == code
