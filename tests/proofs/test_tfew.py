"""T-Few (arXiv 2205.05638): the identities of its losses, and that they teach to choose.

Seen to fail, each in the test that states the fact: the mask of L_UL inverted; `means` as sums;
L_UL without its offset; L_LM over all choices; micro-batches that count their own tokens.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from few import IA3, labelled, moods, resumes, tuned_step
from workshop import Shop, instructions, part, place, schedule

from tunelang.errors import UserError
from tunelang.plan.ir import HoldOut, Mixture
from tunelang.train import choosing, forward, tfew, tfew_losses
from tunelang.train.choosing import Choices
from tunelang.train.evaluate import Lens
from tunelang.train.forward import Row
from tunelang.train.tfew import Weighing

LENS = Lens("fp32", "cpu", 0)


def lists(count: int, choices: int = 3, seed: int = 0) -> list[Choices]:
    """Questions of random tokens; choices of 1 to 5 tokens."""
    chance = random.Random(seed)

    def tokens(most: int) -> list[int]:
        return [chance.randrange(5, 300) for _ in range(chance.randint(1, most))]

    made = []
    for _ in range(count):
        asked = tokens(9)
        rows = [Row.continued(asked, tokens(5)) for _ in range(choices)]
        made.append(Choices(rows, chance.randrange(choices)))
    return made


def test_the_losses_by_hand() -> None:
    """Two questions of two choices, every token written out, in fp64."""
    p = torch.tensor([0.5, 0.25, 0.1, 0.8, 0.3, 0.6], dtype=torch.float64)
    owner = torch.tensor([0, 0, 1, 2, 3, 3])
    right = torch.tensor([True, False, False, True])
    scores = p.log()
    language = tfew_losses.language_sum(scores, owner, right)
    assert float(language) == pytest.approx(-sum(map(math.log, (0.5, 0.25, 0.3, 0.6))))
    unlike = tfew_losses.unlikelihood_sum(scores, owner, right)
    assert float(unlike) == pytest.approx(-math.log(1 - 0.1 + 0.01) - math.log(1 - 0.8 + 0.01))
    beta = choosing.means(scores, owner, 4)
    expected = [math.log(0.5 * 0.25) / 2, math.log(0.1), math.log(0.8), math.log(0.3 * 0.6) / 2]
    assert beta.tolist() == pytest.approx(expected)
    chosen = tfew_losses.length_normalised_sum(beta, [2, 2], [0, 1])
    first = -expected[0] + math.log(math.exp(expected[0]) + math.exp(expected[1]))
    second = -expected[3] + math.log(math.exp(expected[2]) + math.exp(expected[3]))
    assert float(chosen) == pytest.approx(first + second)


def test_one_choice_is_no_choice() -> None:
    """L_LN = 0 and L_UL = 0 to the bit, and no gradient comes from either."""
    scores = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    owner = torch.tensor([0, 0, 1])
    beta = choosing.means(scores, owner, 2)
    total = tfew_losses.length_normalised_sum(beta, [1, 1], [0, 0])
    total = total + tfew_losses.unlikelihood_sum(scores, owner, torch.tensor([True, True]))
    assert float(total) == 0
    total.backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert not scores.grad.any()


def test_unlikelihood_never_touches_the_right_choice() -> None:
    """d L_UL / d logits is zero at every token of right choices, and at no token of wrong ones."""
    torch.manual_seed(0)
    logits = torch.randn(7, 11, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (7,))
    owner = torch.tensor([0, 0, 1, 1, 1, 2, 3])
    right = torch.tensor([False, True, True, False])
    scores = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    tfew_losses.unlikelihood_sum(scores, owner, right).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    touched = logits.grad.abs().sum(-1) > 0
    assert touched.tolist() == [True, True, False, False, False, False, True]
    pushed = logits.grad.gather(-1, targets[:, None])[:, 0]
    assert bool((pushed[touched] > 0).all())  # downhill makes a wrong token less likely


def test_weights_of_zero_leave_the_language_loss(shop: Shop) -> None:
    """Loss and gradients equal those of next-token cross-entropy on the right answers."""
    model = shop.load().model
    asked = lists(6)
    micro = tfew.micros(asked, 99)[0]
    model.requires_grad_(True)
    ours = tfew.loss(model, micro, Weighing(0.0, 0.0), LENS)
    ours.backward()  # type: ignore[no-untyped-call]
    found = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    rows = [one.rows[one.right] for one in asked]
    theirs = forward.loss_sum(model, forward.collate(rows, 0, "cpu"))
    theirs = theirs / sum(row.supervised for row in rows)
    theirs.backward()  # type: ignore[no-untyped-call]
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)
    for name, value in model.named_parameters():
        assert torch.allclose(found[name], value.grad, atol=1e-6), name


def test_accumulation_changes_nothing(shop: Shop) -> None:
    """One forward pass over 6 questions of 3 choices, or one for each question: the same sums."""
    model = shop.load().model.double()
    model.requires_grad_(True)
    asked = lists(6)
    gradients = []
    for most in (99, 3):
        micros = tfew.micros(asked, most)
        assert len(micros) == (1 if most == 99 else 6)
        model.zero_grad()
        for micro in micros:
            tfew.loss(model, micro, Weighing(1.0, 1.0), LENS).backward()  # type: ignore[no-untyped-call]
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters()})
    for name, value in gradients[0].items():
        assert torch.allclose(value, gradients[1][name], atol=1e-9), name


def test_the_choice_taken_is_the_most_likely_per_token(shop: Shop) -> None:
    """Each choice scored alone in a batch of one; a long choice is not punished for its length."""
    model = shop.load().model
    asked = lists(12, seed=5)
    expected = []
    for one in asked:
        scores = []
        for row in one.rows:
            with torch.no_grad():
                log_p = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
            mine = [at for at in range(1, len(row.ids)) if row.labels[at] >= 0]
            scores.append(sum(float(log_p[at - 1, row.ids[at]]) for at in mine) / len(mine))
        expected.append(scores.index(max(scores)))
    assert choosing.picked(model, asked, LENS) == expected


def opposites(count: int) -> list[dict[str, Any]]:
    """Four words of one kind; the answer is the kind, wrong choices are of other lengths."""
    rows = []
    for at, row in enumerate(moods(count // 2)):
        choices = [" the sun was red and calm", " wild", " a dog ran"]
        right = 0 if row["label"] == "calm" else 1
        turned = choices[at % 3 :] + choices[: at % 3]
        answer: Any = turned.index(choices[right]) if at % 2 else choices[right]
        rows.append({"prompt": row["text"], "choices": turned, "answer": answer})
    return rows


@pytest.mark.parametrize("kind", ["choices", "labelled"])
def test_it_learns_to_choose(shop: Shop, kind: str) -> None:
    """From chance to at least 90% of held-out questions in 25 updates of 8."""
    rows = opposites(64) if kind == "choices" else moods(32)
    data = Mixture(parts=[part(kind, rows, hold_out=HoldOut(rows=24))])
    plan = schedule(25, kind="linear", floor=0.0)
    metrics = shop.run(tuned_step("chooses", data, schedule=plan, lr=1e-2))
    assert metrics["before"]["accuracy"] <= 0.7
    assert metrics["after"]["accuracy"] >= 0.9
    assert metrics["after"]["loss"] < metrics["before"]["loss"]


def test_replies_of_few_kinds_are_choices(shop: Shop) -> None:
    """Instruct rows: two replies are the choices of every row; many are free text, aloud."""
    rows = [{"prompt": row["text"], "reply": row["label"]} for row in moods(16)]
    shop.run(tuned_step("closed", Mixture(parts=[part("instruct", rows)])))
    assert "the 2 replies of the data are the choices" in " ".join(shop.said("closed", "note"))
    many = instructions(64)
    metrics = shop.run(tuned_step("open", Mixture(parts=[part("instruct", many)])))
    assert "replies are free text" in " ".join(shop.said("open", "note"))
    assert "accuracy" not in metrics["after"]


def test_words_stand_for_labels(shop: Shop) -> None:
    """In sorted order of labels, said aloud; another number of words is a diagnostic."""
    data = labelled(moods(12), 8)
    shop.run(tuned_step("worded", data, mode={"words": ["red sun", "mat"]}))
    assert "2 labels: calm as red sun, wild as mat" in shop.said("worded", "note")
    with pytest.raises(UserError) as told:
        shop.run(tuned_step("words", data, mode={"words": ["one"]}))
    assert told.value.diagnostic.code == "TL530"


def test_what_is_left_out_is_told(shop: Shop) -> None:
    """A question that is too long is counted, and a held-out double warned of."""
    rows = moods(16)
    rows.append({"text": " ".join(["sun"] * 90), "label": "calm"})
    rows += [{"text": row["text"].upper(), "label": row["label"]} for row in rows[:16]]
    data = Mixture(parts=[part("labelled", rows, hold_out=HoldOut(rows=16))])
    shop.run(tuned_step("told", data, length=64))
    assert "1 of 49 questions are left out" in " ".join(shop.said("told", "note"))
    assert "held-out questions are trained on too" in " ".join(shop.said("told", "warning"))


@pytest.mark.parametrize("weights", ["ia3", "full"])
def test_killed_and_resumed_equals_never_killed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    """Weights, metrics and loss curve are equal bit for bit, also in small micro-batches."""
    adapter: dict[str, Any] = {"adapter": IA3} if weights == "ia3" else {}

    def make(key: str, plan: Any) -> Any:
        return tuned_step(
            key,
            labelled(moods(16), 8),
            schedule=plan,
            weights=weights,
            place=place(micro=5),
            **adapter,
        )

    resumes(shop, monkeypatch, make)
