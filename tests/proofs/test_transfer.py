"""Transfer keeps what a body knows: a new vocabulary, weights held near their start, less data."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from test_classifier import PACE, moods, transfer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
from workshop import BAD, GOOD, Shop, blank, collect, instructions, part, schedule, texts, training

from tunelang.plan import findings
from tunelang.plan.ir import HoldOut, ScratchModel, Step, StoreModel
from tunelang.source import Source
from tunelang.train import anchor, remap
from tunelang.train.job import Job
from tunelang.train.model import Loaded

OTHER = "a green bird sat by the mat; the dog ran home, and the cat saw it run.\n"


def other_model(shop: Shop) -> None:
    """A model of other text in the store: its tokenizer is what is wanted of it."""
    path = shop.home / "other.txt"
    path.write_text(OTHER * 30)
    shape = ScratchModel(
        architecture="llama",
        hidden=32,
        layers=1,
        heads=2,
        kv_heads=1,
        ffn=32,
        vocabulary=330,
        positions=256,
        seed=0,
        tokenizer_text=[str(path)],
        fingerprint="other",
    )
    shop.run(blank("import_model", "words", import_from=shape))


def speaking(key: str, rows: list[dict[str, Any]], **more: Any) -> Step:
    """A transfer of a model that goes on speaking."""
    fields = {**PACE, "head": {"kind": "lm"}, **more.pop("fields", {})}
    fixed = {"worker": "tunelang.train.transfer", "product": "lm", "weights": "full"}
    data = part("text", rows, hold_out=HoldOut(rows=16))
    return training("transfer", key, data, fields=fields, **{**fixed, **more})


def remapped(shop: Shop, start: Loaded) -> tuple[Loaded, list[int | None], list[dict[str, Any]]]:
    """The start with the other vocabulary, which token was which, and what was said."""
    tokenizer = shop.load("words").tokenizer
    events, emit = collect()
    job = Job(shop.home, shop.store.work("remap"), shop.store, emit)
    source = remap.matches(start.tokenizer, tokenizer)
    return remap.remap(start, tokenizer, job), source, events


@pytest.mark.parametrize("tied", [True, False])
def test_shared_tokens_keep_their_logits(shop: Shop, tied: bool) -> None:
    """Text of shared tokens gives the shared tokens' logits to the bit; new tokens begin as the
    mean of the old rows; tied matrices stay one; both counts are said.

    Seen to fail: tokens matched by number; the mean over a matrix's spare rows, too.
    """
    other_model(shop)
    start = shop.load()
    config = LlamaConfig(**{**start.model.config.to_dict(), "tie_word_embeddings": tied})
    config.vocab_size += 7  # a matrix wider than its vocabulary, as Qwen's
    torch.manual_seed(3)
    start = Loaded(AutoModelForCausalLM.from_config(config).eval(), start.tokenizer, start.origin)
    old, count = copy.deepcopy(start.model), len(start.tokenizer)
    made, source, events = remapped(shop, start)
    shared = [at for at, was in enumerate(source) if was is not None]
    fresh = [at for at, was in enumerate(source) if was is None]
    assert len(shared) > 200
    assert fresh
    assert f"{len(shared)} of the {len(source)} tokens" in events[0]["text"]
    was = [source[at] for at in shared]
    asked = random.Random(0).sample(range(len(shared)), 40)
    with torch.no_grad():
        new = made.model(torch.tensor([[shared[at] for at in asked]])).logits[0]
        before = old(torch.tensor([[was[at] for at in asked]])).logits[0]
    assert torch.equal(new[:, shared], before[:, was])
    inner, outer = made.model.get_input_embeddings(), made.model.get_output_embeddings()
    assert (inner.weight is outer.weight) == tied
    assert inner.weight.shape[0] == made.model.config.vocab_size == len(source)
    for matrix, held in ((inner, old.get_input_embeddings()), (outer, old.get_output_embeddings())):
        mean = held.weight[:count].mean(0)
        assert torch.allclose(matrix.weight[fresh], mean.expand(len(fresh), -1), atol=1e-7)


def test_tokens_are_matched_by_what_they_write(shop: Shop) -> None:
    """Matched tokens decode to the same text; end marks are matched by their role."""
    other_model(shop)
    old, new = shop.load().tokenizer, shop.load("words").tokenizer
    for at, was in enumerate(remap.matches(old, new)):
        if was is not None:
            assert new.decode([at]) == old.decode([was])
    assert remap.matches(old, new)[new.eos_token_id] == old.eos_token_id
    assert set(remap.texts(new)) - set(remap.texts(old))


def spelt(words: list[str], *, bytewise: bool) -> Any:
    """A tokenizer that writes these words: in GPT-2's byte letters, or as SentencePiece does."""
    if bytewise:
        letters = {byte: letter for letter, byte in byte_letters().items()}
        vocabulary = ["".join(letters[byte] for byte in word.encode()) for word in words]
    else:
        vocabulary = [word.replace(" ", "▁") for word in words]
        vocabulary += [f"<0x{byte:02X}>" for byte in (0xC3, 0x41)]
    inner = Tokenizer(models.BPE({word: at for at, word in enumerate(vocabulary)}, []))
    if bytewise:
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    else:
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def byte_letters() -> dict[str, int]:
    """The byte of each letter, from a byte-level tokenizer."""
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    found = remap.byte_level(PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    assert found is not None
    return found


def test_byte_letters_and_sentencepiece_write_the_same() -> None:
    """` the` is Ġthe in the one and ▁the in the other, é is Ã© in the one, and the bytes that
    SentencePiece keeps for what it has no word for are those bytes; a byte that a word writes
    already (A) goes to the word.

    Seen to fail: tokens matched as they are spelt in the file.
    """
    old = spelt([" the", "é", "cat", "A"], bytewise=True)
    new = spelt(["cat", " the", "dog", "é", "A"], bytewise=False)
    assert remap.matches(old, new) == [2, 0, None, 1, 3, None, None]
    assert remap.texts(new)[5:] == [b"\xc3", None]


def test_a_product_speaks_the_other_vocabulary(shop: Shop) -> None:
    """What the run leaves is a whole model with the other tokenizer, and still tied."""
    other_model(shop)
    step = speaking("remapped", [{"text": line} for line in OTHER.split() * 4])
    inputs = {**step.inputs, "tokenizer": StoreModel(key="words")}
    metrics = shop.run(step.model_copy(update={"inputs": inputs}))
    assert metrics["after"]["loss"] < metrics["before"]["loss"]
    made, words = shop.load("remapped"), shop.load("words").tokenizer
    assert made.tokenizer.get_vocab() == words.get_vocab()
    assert made.model.get_input_embeddings().weight.shape[0] == len(words)
    assert made.model.get_output_embeddings().weight is made.model.get_input_embeddings().weight


def test_prompts_are_not_trained_and_text_is(shop: Shop) -> None:
    """Rows of prompt and reply train the reply, rows of text every token; lower layers too.

    Seen to fail: `loss_on` left at `all` for prompts (the run has no check of their masks then).
    """
    for key, kind, rows, masked in (
        ("replies", "instruct", instructions(), True),
        ("texts", "text", texts(), False),
    ):
        step = speaking(key, rows)
        data = step.data.model_copy(update={"parts": [part(kind, rows)]}) if step.data else None
        metrics = shop.run(step.model_copy(update={"data": data}))
        assert metrics["after"]["loss"] < metrics["before"]["loss"]
        checks = [each["name"] for each in shop.events(key) if each["event"] == "check"]
        assert ("prompts-not-trained" in checks) == masked


def test_l2_sp_is_its_formula() -> None:
    """alpha/2 |w - w0|^2 + beta/2 |v|^2, so the gradients are alpha (w - w0) and beta v.

    Seen to fail: all weights against zero (plain weight decay); alpha without the half.
    """
    torch.manual_seed(0)
    start = {"body": torch.randn(3, 2)}
    now = {
        "body": torch.randn(3, 2, requires_grad=True),
        "head.weight": torch.randn(4, requires_grad=True),
    }
    loss = anchor.l2_sp(now, start, alpha=0.5, beta=0.1)
    loss.backward()
    away, head = now["body"] - start["body"], now["head.weight"]
    expected = 0.25 * float((away**2).sum()) + 0.05 * float((head**2).sum())
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert torch.allclose(now["body"].grad, 0.5 * away)
    assert torch.allclose(head.grad, 0.1 * head)


def test_the_penalty_counts_once_an_update(shop: Shop) -> None:
    """However the update is cut into micro-batches: 8 rows at once or 2 at a time, to 1e-5.

    Seen to fail: the penalty added to every micro-batch whole.
    """
    found = []
    for key, micro in (("whole", 8), ("parts", 2)):
        held = {"l2_sp": {"alpha": 20.0, "beta": 1.0}}
        step = transfer(key, fields=held)
        step = step.model_copy(update={"place": step.place.model_copy(update={"micro": micro})})
        shop.run(step)
        found.append(dict(shop.load(key).model.named_parameters()))
    assert max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0]) < 1e-5


def test_l2_sp_holds_weights_near_their_start(shop: Shop) -> None:
    """With a large alpha the body moves less than a tenth of what it moves without."""
    start = dict(shop.load().model.named_parameters())
    ways = []
    for key, alpha in (("free", 0.0), ("held", 1000.0)):
        plan = schedule(30, kind="linear", warmup=1, floor=0.0)
        shop.run(transfer(key, fields={"l2_sp": {"alpha": alpha, "beta": 0.0}}, schedule=plan))
        ended = shop.load(key).model.named_parameters()
        ways.append(sum(float((value - start[name]).square().sum()) for name, value in ended))
    assert ways[1] < 0.1 * ways[0]


def chain(seed: int, count: int, follows: dict[str, str]) -> list[dict[str, Any]]:
    """Texts of 24 words; a word is followed by its own successor 9 times in 10."""
    chance = random.Random(seed)
    words, rows = list(follows), []
    for _ in range(count):
        word, said = chance.choice(words), []
        for _ in range(24):
            said.append(word)
            word = follows[word] if chance.random() < 0.9 else chance.choice(words)
        rows.append({"text": " ".join(said)})
    return rows


def test_transfer_learns_a_related_chain_from_a_tenth_of_the_data(shop: Shop) -> None:
    """Two words of sixteen change places in the chain. From scratch on 1/10 of the rows the tiny
    model needs 44 updates for its lowest held-out loss of 60; the model that learnt the first
    chain is there in at most a fifth of them (4, measured).

    Seen to fail: the transfer started from the tiny model instead of the one that has learnt.
    """
    words = [*GOOD, *BAD, "the", "and", "was", "in", "on", "a", "an", "of"]
    first = dict(zip(words, [*words[1:], words[0]], strict=True))
    related = {**first, "sun": first["ran"], "ran": first["sun"]}
    shop.run(speaking("learnt", chain(1, 400, first), schedule=schedule(160), lr=5e-3))
    rows, reached = chain(2, 40, related), {}
    for key, model in (("scratch", "tiny"), ("moved", "learnt")):
        plan = schedule(60, eval_every=2)
        step = speaking(key, rows, model=model, schedule=plan, lr=5e-3)
        shop.run(step)
        found = [event for event in shop.events(key) if event["event"] == "measure"]
        reached[key] = [(event["at"], event["metrics"]["loss"]) for event in found]
    lowest = min(loss for _, loss in reached["scratch"])
    steps = min(at for at, loss in reached["scratch"] if loss <= lowest)
    mine = min(at for at, loss in reached["moved"] if loss <= lowest)
    assert mine <= steps / 5, (mine, steps, lowest)


RECIPE = """tune 1
model base = hf("Qwen/Qwen2.5-0.5B", revision = "060db64", licence = "apache-2.0")
data moods = inline([{rows}], format = labelled)
stage sort: transfer {{
  model = base
  data = moods
  length = 64 tokens
  train = 5 epochs
  batch = 4 sequences
  unfreeze = gradual(every = 2 epochs)
  probe = 10%
  discriminative = 1.2
}}
"""


def test_the_plan_counts_stretches_in_steps(tmp_path: Path) -> None:
    """40 rows, 4 an update: 10 updates an epoch, 50 in all. So 2 epochs are 20 and 10% is 5; the
    triangle rises for floor(50 x 10%) = 5 steps and ends at 1/32."""
    rows = ", ".join(f'row(text = "a {n}", label = "{n % 2}")' for n in range(40))
    plan = findings.of_text(Source("a.tune", RECIPE.format(rows=rows)), tmp_path).plan
    assert plan is not None
    step = next(each for each in plan.steps if each.name == "sort")
    assert step.schedule is not None
    assert step.product == "classifier"
    assert step.fields["unfreeze"] == {"kind": "gradual", "every": 20}
    assert step.fields["probe"] == 5
    assert (step.schedule.steps, step.schedule.warmup) == (50, 5)
    assert (step.schedule.kind, step.schedule.floor) == ("slanted_triangular", 1 / 32)


def test_a_trained_layer_and_another_vocabulary(shop: Shop) -> None:
    """With `layers` the embeddings are the other vocabulary's and stay frozen; a probe over a
    remapped body saves the body too, for no other object has it."""
    other_model(shop)
    for key, kind, settings in (("some", "layers", {"last": 1}), ("probe", "head", {})):
        step = transfer(key, moods(40), kind=kind, settings=settings)
        inputs = {**step.inputs, "tokenizer": StoreModel(key="words")}
        shop.run(step.model_copy(update={"inputs": inputs}))
        made = shop.load(key)
        assert made.model.get_input_embeddings().weight.shape[0] == len(made.tokenizer)
