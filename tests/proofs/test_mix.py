"""Mixes keep their shares exactly, in an order that depends on nothing but the seed.

Seen to fail: the temperature before the cap (0.32 for 0.34); drawing from the part that is owed
most (off by 0.92 for at most 0.83 of 4 parts, by 1.06 of 12); tokens counted by their mean length,
or not at all (151 and 180 tokens off for at most 150); row shares told for token shares.
"""

from __future__ import annotations

import random
from itertools import islice

import pytest
from workshop import Shop, instructions, part, place, texts, training

from tunelang.errors import UserError
from tunelang.plan import shares
from tunelang.plan.ir import HoldOut, HubSource, Mixture
from tunelang.train import data, mix, sft
from tunelang.train.forward import Row

SIZES = [1_000_000, 30_000, 500, 200]


def mixture(**fields: object) -> Mixture:
    parts = [part("text", [{"text": "a"}], name=f"part{at}") for at in range(4)]
    return Mixture(parts=parts, **fields)  # type: ignore[arg-type]


def test_shares_scale_then_clip_then_temper() -> None:
    """P17: the example of T5's mixing: cap 3000 on four sizes; high temperatures even out."""
    capped = mix.shares(mixture(strategy="proportional", cap=3000), SIZES)
    assert capped == pytest.approx([0.4478, 0.4478, 0.0746, 0.0299], abs=5e-5)
    even = mix.shares(mixture(strategy="temperature", temperature=1e9), SIZES)
    assert even == pytest.approx([0.25] * 4, abs=1e-6)
    same = mix.shares(mixture(strategy="temperature", temperature=1.0, cap=3000), SIZES)
    assert same == pytest.approx(capped)
    assert mix.shares(mixture(), SIZES) == [0.25] * 4


def test_a_part_is_scaled_then_capped() -> None:
    """seqio: rate = min(scale n, cap)^(1/T). Shares of 80% and 20% are scales of 1.6 and 0.4."""
    parts = [
        part("text", [{"text": "a"}], name=name, weight=weight)
        for name, weight in (("a", 0.8), ("b", 0.2))
    ]
    capped = Mixture(parts=parts, strategy="proportional", cap=3000)
    assert mix.shares(capped, [500, 9000]) == pytest.approx([800 / 3800, 3000 / 3800])
    assert mix.shares(capped, [2000, 9000]) == [0.5, 0.5]
    warm = Mixture(parts=parts, strategy="temperature", cap=3000, temperature=2.0)
    root = [800**0.5, 3000**0.5]
    assert mix.shares(warm, [500, 9000]) == pytest.approx([each / sum(root) for each in root])
    even = mixture(strategy="proportional", cap=3000)
    quarter = [each.model_copy(update={"weight": 0.25}) for each in even.parts]
    written = even.model_copy(update={"parts": quarter})
    assert mix.shares(written, SIZES) == pytest.approx([0.4478, 0.4478, 0.0746, 0.0299], abs=5e-5)


def random_shares(chance: random.Random) -> list[float]:
    """2 to 12 shares, some of them very small."""
    rates = [chance.random() ** 3 for _ in range(chance.randint(2, 12))]
    return [rate / sum(rates) for rate in rates]


def test_quotas_are_off_by_less_than_one_at_every_prefix() -> None:
    """Tijdeman 1980: |count - share k| <= 1 - 1/(2m - 2) < 1, for 100 mixes after each draw."""
    chance = random.Random(0)
    for parts in [
        [0.61, 0.27, 0.09, 0.03],
        [0.5, 0.5],
        *(random_shares(chance) for _ in range(98)),
    ]:
        taken = [0] * len(parts)
        bound = 1 - 1 / (2 * len(parts) - 2) + 1e-6
        for drawn, chosen in enumerate(islice(mix.turns(parts), 600), start=1):
            taken[chosen] += 1
            off = max(abs(count - share * drawn) for count, share in zip(taken, parts, strict=True))
            assert off <= bound < 1.0, (parts, drawn)


def test_drawn_counts_fit_their_shares() -> None:
    """Chi-square of the counts of 3000 draws, 3 degrees of freedom: far under 16.27 (p = .001)."""
    wanted = mix.shares(mixture(strategy="proportional", cap=3000), SIZES)
    taken = [0] * 4
    for chosen in islice(mix.turns(wanted), 3000):
        taken[chosen] += 1
    chi = sum((n - 3000 * p) ** 2 / (3000 * p) for n, p in zip(taken, wanted, strict=True))
    assert chi < 0.05


def test_a_single_part_is_always_drawn_and_an_empty_share_never() -> None:
    assert list(islice(mix.turns([1.0]), 3)) == [0, 0, 0]
    assert 1 not in islice(mix.turns([0.5, 0.0, 0.5]), 100)


def lengths_apart() -> list[list[Row]]:
    """40 rows of 10 trained tokens, and 30 of between 50 and 150."""
    chance = random.Random(1)
    asked = [chance.randint(1, 101) for _ in range(30)]
    return [
        [Row([1] * 11, [1] * 11) for _ in range(40)],
        [Row([1] * 151, [-100] * before + [1] * (151 - before)) for before in asked],
    ]


def spent(mixed: Mixture, rows: list[list[Row]], draws: int) -> list[int]:
    """Trained tokens drawn from each part."""
    found = [0, 0]
    for at, row in islice(mix.stream(mixed, rows, seed=3), draws):
        found[at] += rows[at][row].supervised
    return found


def test_shares_by_rows_are_no_shares_of_tokens() -> None:
    """Half and half of rows 10 and 100 long: 9% and 91% of the tokens, and the plan can say so."""
    rows = [[Row([1] * 11, [1] * 11)] * 20, [Row([1] * 101, [1] * 101)] * 20]
    by_rows = mixture_of_two()
    taken = spent(by_rows, rows, 1000)
    assert taken[0] / sum(taken) == pytest.approx(1 / 11, abs=1e-3)
    assert shares.of_tokens(by_rows, [20, 20], [200, 2000]) == pytest.approx([1 / 11, 10 / 11])


def mixture_of_two(**fields: object) -> Mixture:
    parts = [part("text", [{"text": "a"}], name=name, weight=0.5) for name in ("short", "long")]
    return Mixture(parts=parts, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.2])
def test_shares_by_tokens_are_exact_to_one_row(share: float) -> None:
    """At every prefix a part is off by at most its longest row, so the share converges."""
    mixed = mixture_of_two(by="tokens")
    weights = (share, 1 - share)
    parts = [
        each.model_copy(update={"weight": weight})
        for each, weight in zip(mixed.parts, weights, strict=True)
    ]
    mixed = mixed.model_copy(update={"parts": parts})
    rows = lengths_apart()
    longest = max(row.supervised for own in rows for row in own)
    found = [0, 0]
    for part_at, row in islice(mix.stream(mixed, rows, seed=3), 2000):
        found[part_at] += rows[part_at][row].supervised
        assert abs(found[0] - share * sum(found)) <= longest
    assert found[0] / sum(found) == pytest.approx(share, abs=0.01)


def test_what_is_said_of_rows_and_tokens_is_what_is_drawn() -> None:
    """of_rows and of_tokens, by rows and by tokens, against counting 4000 draws."""
    rows = lengths_apart()
    sizes = [len(each) for each in rows]
    counted = [sum(row.supervised for row in each) for each in rows]
    for by in ("rows", "tokens"):
        mixed = mixture_of_two(by=by)
        drawn, tokens = [0, 0], [0, 0]
        for part_at, row in islice(mix.stream(mixed, rows, seed=3), 4000):
            drawn[part_at] += 1
            tokens[part_at] += rows[part_at][row].supervised
        for told, seen in (
            (shares.of_rows(mixed, sizes, counted), drawn),
            (shares.of_tokens(mixed, sizes, counted), tokens),
        ):
            assert told == pytest.approx([each / sum(seen) for each in seen], abs=0.01)
        passes = shares.passes(mixed, sizes, counted, 4000)
        assert passes == pytest.approx(
            [n / size for n, size in zip(drawn, sizes, strict=True)], 0.01
        )


def test_by_tokens_a_cap_counts_tokens() -> None:
    """min(tokens, cap): 400 and 3000 tokens capped at 1000 are 2/7 and 5/7 of the tokens."""
    rows = [[Row([1] * 11, [1] * 11)] * 40, [Row([1] * 101, [1] * 101)] * 30]
    taken = spent(mixture_of_two(by="tokens", strategy="proportional", cap=1000), rows, 4000)
    assert taken[0] / sum(taken) == pytest.approx(2 / 7, abs=2e-3)


@pytest.mark.parametrize("by", ["rows", "tokens"])
def test_the_mixed_stream_goes_on_where_it_stopped(by: str) -> None:
    """Whatever is skipped, and whatever the micro-batch: the same rows at the same places."""
    mixed, rows = mixture_of_two(by=by), lengths_apart()
    whole = list(islice(mix.stream(mixed, rows, seed=1), 200))
    assert list(islice(mix.stream(mixed, rows, seed=1), 120, 200)) == whole[120:]
    assert list(islice(mix.stream(mixed, rows, seed=2), 200)) != whole
    step = training("sft", "stream", mixed, fields={})
    splits = [data.Split(name, own, []) for name, own in zip("ab", rows, strict=True)]
    found = []
    for micro in (1, 8):
        made = step.model_copy(update={"place": place(micro)})
        updates = islice(sft.updates(made, splits, 0), 5)
        found.append([sorted(id(row) for some in each.micros for row in some) for each in updates])
    assert found[0] == found[1]


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
    (told,) = [note for note in notes if note.startswith("shares: ")]
    assert "`one` 75.0% of rows" in told and "of trained tokens" in told


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
