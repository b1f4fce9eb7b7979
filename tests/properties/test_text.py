"""What must hold of any text: nothing is lost, nothing raises, formatting settles."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tunelang.plan.findings import of_text
from tunelang.source import Source
from tunelang.syntax.digest import digest
from tunelang.syntax.format import format
from tunelang.syntax.lexer import joined
from tunelang.syntax.parse import parse

CASES = int(os.environ.get("TUNELANG_CASES", "500"))  # `make test-slow` asks for 20,000
SAMPLES = [p.read_text("utf-8") for p in (Path(__file__).parents[1] / "samples").glob("*.tune")]
PIECES = (
    "tune 1 let x = stage : sft { } ( ) [ ] , . # ## 3 2k 80GB 5% $3 true import as <= extends ; "
    "1e-4 .5 lora(rank=8)"
)
WORDS = st.sampled_from(
    [*PIECES.split(), '"', "\\", "\n", "\r\n", "\r", '"""', "“", "\u00a0", "\x00", "\ufeff"]
)
TEXTS = st.one_of(st.text(), st.lists(WORDS).map(" ".join))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A sample with a piece cut out, doubled or replaced."""
    text = draw(st.sampled_from(SAMPLES))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 80)))
    return text[:start] + draw(st.sampled_from(["", text[start:end] * 2, draw(TEXTS)])) + text[end:]


@given(st.one_of(TEXTS, mutated()))
@settings(max_examples=CASES, deadline=None)
def test_tokens_and_gaps_are_the_text(text: str) -> None:
    """Whatever is written, no character is lost, and the parser only ever returns."""
    file, _ = parse(Source("any", text))
    assert joined(file.tokens) == text


@given(st.one_of(TEXTS, mutated()))
@settings(max_examples=CASES, deadline=None)
def test_formatting_settles(text: str) -> None:
    """Formatting a formatted text changes nothing."""
    once = format(Source("any", text))
    assert format(Source("any", once)) == once


@given(st.sampled_from(SAMPLES), st.integers(0, 10_000), st.sampled_from([" ", "  ", "\t", "\n\n"]))
@settings(max_examples=CASES, deadline=None)
def test_formatting_keeps_meaning(text: str, seed: int, blank: str) -> None:
    """A sound recipe whose line ends are widened hashes the same after formatting."""
    lines = text.split("\n")
    lines[seed % len(lines)] += blank
    changed = "\n".join(lines)
    before, after = (parse(Source("x", t))[0] for t in (changed, format(Source("x", changed))))
    assert digest(before) == digest(after)


@given(st.sampled_from(SAMPLES), st.integers(0, 10_000))
@settings(max_examples=CASES, deadline=None)
def test_prefixes_and_their_rules(text: str, end: int) -> None:
    """A recipe that is being typed is resolved and judged without an exception."""
    source = Source("typed.tune", text[: end % (len(text) + 1)])
    assert all(each.message for each in of_text(source, Path(__file__).parent).found)


@given(mutated())
@settings(max_examples=CASES // 5, deadline=None)
def test_findings_of_any_mutation(text: str) -> None:
    """Every floor up to the plan returns findings, whatever was broken."""
    found = of_text(Source("broken.tune", text), Path(__file__).parent).found
    assert all(each.code[:2] in ("TL", "TS") for each in found)
