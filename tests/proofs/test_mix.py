"""Mixes keep their shares exactly, in an order that depends on nothing but the seed."""

from __future__ import annotations

from itertools import islice

import pytest
from workshop import Shop, instructions, part, texts, training

from tunelang.errors import UserError
from tunelang.plan.ir import HoldOut, HubSource, Mixture
from tunelang.train import data, mix

SIZES = [1_000_000, 30_000, 500, 200]


def mixture(**fields: object) -> Mixture:
    parts = [part("text", [{"text": "a"}], name=f"part{at}") for at in range(4)]
    return Mixture(parts=parts, **fields)  # type: ignore[arg-type]


def test_shares_scale_then_clip_then_temper() -> None:
    """The example of T5's mixing: cap 3000 on four sizes; high temperatures even out."""
    capped = mix.shares(mixture(strategy="proportional", cap=3000), SIZES)
    assert capped == pytest.approx([0.4478, 0.4478, 0.0746, 0.0299], abs=5e-5)
    even = mix.shares(mixture(strategy="temperature", temperature=1e9), SIZES)
    assert even == pytest.approx([0.25] * 4, abs=1e-6)
    same = mix.shares(mixture(strategy="temperature", temperature=1.0, cap=3000), SIZES)
    assert same == pytest.approx(capped)
    assert mix.shares(mixture(), SIZES) == [0.25] * 4


def test_quotas_are_never_off_by_more_than_one() -> None:
    """After every draw, each part has its share of the draws to within one."""
    parts = [0.61, 0.27, 0.09, 0.03]
    taken = [0] * 4
    for drawn, chosen in enumerate(islice(mix.turns(parts), 3000), start=1):
        taken[chosen] += 1
        assert all(
            abs(count - share * drawn) < 1.5 for count, share in zip(taken, parts, strict=True)
        )
    assert taken == [1830, 810, 270, 90]


def test_every_pass_takes_each_row_once_in_a_new_order() -> None:
    """Ten rows, three passes: three different permutations."""
    rows = [row for _part, row in islice(mix.draws([1.0], [10], seed=4), 30)]
    passes = [rows[at : at + 10] for at in (0, 10, 20)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert passes[0] != passes[1] != passes[2]


def test_the_stream_is_a_function_of_seed_and_position() -> None:
    """Skipping ahead finds the rows that drawing would have found; another seed finds others."""
    whole = list(islice(mix.draws([0.7, 0.3], [9, 4], seed=1), 100))
    assert list(islice(mix.draws([0.7, 0.3], [9, 4], seed=1), 60, 100)) == whole[60:]
    assert list(islice(mix.draws([0.7, 0.3], [9, 4], seed=2), 100)) != whole


def test_every_part_of_a_mix_is_measured(shop: Shop) -> None:
    """Held-out rows come from every part in turn, 64 at most; what is repeated more often than
    the mix allows is said."""
    both = Mixture(
        parts=[
            part("text", texts(80), name="one", hold_out=HoldOut(rows=40), weight=3.0),
            part("text", texts(120), name="two", hold_out=HoldOut(rows=60)),
        ],
        repeat_at_most=0.5,
    )
    shop.run(training("domain_adaptation", "mixed", both))
    notes = shop.said("mixed", "note")
    assert "each row of `one` is seen 0.9 times, over the 0.5 of repeat_at_most" in notes
    assert not any("`two` is seen" in note for note in notes)
    assert "measured on 64 of 100 held-out rows" in shop.said("mixed", "note")


def test_chats_and_instructions_mix(shop: Shop) -> None:
    """Instruction tuning takes both formats in one mix."""
    chats = [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["reply"]},
            ]
        }
        for row in instructions(20)
    ]
    both = Mixture(parts=[part("chat", chats), part("instruct", instructions(20))])
    metrics = shop.run(training("instruction_tuning", "both", both))
    assert metrics["after"]["loss"] < metrics["before"]["loss"]


def test_rows_of_the_hub_take_the_same_roles_and_split(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that come through `datasets` are split as the same rows in a file would be."""
    rows = instructions(20)
    monkeypatch.setattr("datasets.load_dataset", lambda *_given, **_named: rows)
    local = part("instruct", rows)
    hub = local.model_copy(update={"source": HubSource(id="acme/rows", revision="0" * 40)})
    job = shop.job(training("sft", "split", local))
    ours, theirs = data.load_part(hub, job), data.load_part(local, job)
    assert [row.values for row in ours.held_out] == [row.values for row in theirs.held_out]
    assert {row.place for row in ours.train + ours.held_out} == {
        f"acme/rows:{number}" for number in range(1, 21)
    }


def test_a_data_set_that_is_not_here_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """TL736 names it; no traceback of the hub client."""

    def absent(*_given: object, **_named: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("datasets.load_dataset", absent)
    hub = part("instruct", instructions(4)).model_copy(
        update={"source": HubSource(id="acme/rows", revision="0" * 40)}
    )
    with pytest.raises(UserError) as told:
        data.load_part(hub, shop.job(training("sft", "absent", hub)))
    assert told.value.diagnostic.code == "TL736"
    assert "acme/rows" in told.value.diagnostic.message
