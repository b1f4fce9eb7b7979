"""Parsing again gives what parsing gives, whatever was parsed before."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tunelang.source import Source
from tunelang.syntax.again import Parser
from tunelang.syntax.parse import parse

SAMPLES = [p.read_text("utf-8") for p in (Path(__file__).parents[1] / "samples").glob("*.tune")]
PARSER = Parser()


@given(st.data(), st.sampled_from(SAMPLES))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_changed_sample_parses_again(data: st.DataObject, text: str) -> None:
    """A sound text gives the same tree, a broken one the same items and findings."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 80)))
    pieces = ["", text[start:end] * 2, "{", "}", ")", '"', '"""', "= 3", "\n", "#", ","]
    source = Source("any", text[:start] + data.draw(st.sampled_from(pieces)) + text[end:])
    again, once = PARSER.parse(source), parse(source)
    if not once[1]:
        assert again == once
    assert again[0].tokens == once[0].tokens
    assert [(f.code, f.at and f.at.span) for f in again[1]] == [
        (f.code, f.at and f.at.span) for f in once[1]
    ]
    # Where a broken item ends is a guess, and the two may guess differently.
    assert [(type(i), i.span.start) for i in again[0].items] == [
        (type(i), i.span.start) for i in once[0].items
    ]


def test_an_item_that_moves_is_not_parsed_anew() -> None:
    """Only the item whose text changed adds a tree."""
    parser, text = Parser(), SAMPLES[0]
    parser.parse(Source("any", text))
    known = len(parser.trees)
    changed = text.replace("tune 1\n", "tune 1\n\n# moved\nlet another = 3\n", 1)
    assert parser.parse(Source("any", changed)) == parse(Source("any", changed))
    assert len(parser.trees) == known + 1
