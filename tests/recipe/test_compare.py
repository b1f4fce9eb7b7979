"""Two recipes compared by what they mean: what stands at the top of a file, and in imports."""

from __future__ import annotations

from pathlib import Path

from tunelang.recipe.compare import Difference, Side, compare
from tunelang.recipe.resolve import resolve

TEXT = """tune 1
import "./parts.tune" as parts
model base = hf("acme/base", revision = "d149729")
data talks = hf("acme/talks", revision = "0aa91c3", format = chat, rows = 400 rows, hold_out = 5%)
budget { cost = $20 }
stage chat: instruction_tuning {
  model = base
  data = talks
  on = parts.card
  gate { loss < 3, loss > 1 }
}
sweep search { axes { chat.lr = [1e-4, 2e-4] } }
"""
PARTS = 'tune 1\nhardware card { gpu = "H100-80GB" }\n'


def differences(folder: Path, *swaps: tuple[str, str], parts: str = PARTS) -> list[Difference]:
    """Between the recipe above and the one with these replacements."""
    (folder / "parts.tune").write_text(PARTS)
    (folder / "r.tune").write_text(TEXT)
    old = resolve(folder / "r.tune").recipe
    text = TEXT
    for one, other in swaps:
        assert one in text
        text = text.replace(one, other)
    (folder / "parts.tune").write_text(parts)
    (folder / "r.tune").write_text(text)
    new = resolve(folder / "r.tune")
    assert old and new.recipe and not new.found, [each.message for each in new.found]
    return compare(Side(old), Side(new.recipe))


def shown(found: list[Difference]) -> list[str]:
    return [
        f"{each.kind} {each.new}.{change.path}: {change.old} → {change.new}"
        for each in found
        for change in each.changes
    ]


def test_nothing(tmp_path: Path) -> None:
    assert differences(tmp_path) == []


def test_budgets_and_sweeps(tmp_path: Path) -> None:
    found = differences(tmp_path, ("$20", "$30"), ("2e-4", "5e-4"))
    assert shown(found) == [
        "budget .cost: $20 → $30",
        "sweep search.chat.lr: 1e-4, 2e-4 → 1e-4, 5e-4",
    ]


def test_a_budget_that_is_gone(tmp_path: Path) -> None:
    found = differences(tmp_path, ("budget { cost = $20 }\n", ""))
    assert shown(found) == ["budget .cost: $20 → nothing"]


def test_an_imported_declaration(tmp_path: Path) -> None:
    """Under the name by which the recipe reaches it."""
    found = differences(tmp_path, parts=PARTS.replace("H100", "A100"))
    assert shown(found) == ['hardware parts.card.gpu: "H100-80GB" → "A100-80GB"']


def test_bounds_of_one_metric_stand_together(tmp_path: Path) -> None:
    found = differences(tmp_path, ("loss > 1 }", "loss > 2, enforce = false }"))
    assert shown(found) == [
        "stage chat.gate.enforce: true → false",
        "stage chat.gate loss: < 3, > 1 → < 3, > 2",
    ]


def test_a_name_of_another_kind_is_another_declaration(tmp_path: Path) -> None:
    swaps = [("data talks =", "data speech ="), ("data = talks", "data = speech")]
    found = differences(tmp_path, *swaps)
    heads = [(each.kind, each.old, each.new) for each in found]
    assert heads == [("data", "", "speech"), ("stage", "chat", "chat"), ("data", "talks", "")]


def test_another_method(tmp_path: Path) -> None:
    swaps = [
        ("chat: instruction_tuning", "chat: sft"),
        ("format = chat", 'format = instruct(prompt = "q", reply = "a")'),
    ]
    assert "stage chat.method: instruction_tuning → sft" in shown(differences(tmp_path, *swaps))
