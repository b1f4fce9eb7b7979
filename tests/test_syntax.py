"""The grammar, the lossless tree, and what the parser does with texts that are no recipes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from lark import Lark

from tunelang.source import Source
from tunelang.syntax.digest import digest
from tunelang.syntax.format import format
from tunelang.syntax.lexer import CHECKOUT, grammar, joined, lex
from tunelang.syntax.parse import parse
from tunelang.syntax.tree import Declaration

HERE = Path(__file__).parent
IDENTITY = (HERE / "identity.tune").read_text("utf-8").splitlines()
SAMPLES = sorted((HERE / "samples").glob("*.tune"))


@pytest.mark.parametrize("lexer", ["basic", "contextual"])
def test_the_grammar_has_no_conflicts(lexer: str) -> None:
    """It loads in Lark's strict mode: no shift/reduce conflict, no terminals that collide."""
    text = CHECKOUT.read_text("utf-8")
    Lark(text, start=["start", "item"], parser="lalr", lexer=lexer, strict=True)


@pytest.mark.parametrize("line", IDENTITY[1:])
def test_every_construct_prints_as_itself(line: str) -> None:
    """One construct a line: it parses, and the formatter leaves it alone."""
    text = f"tune 1\n{line}\n"
    file, found = parse(Source("identity", text))
    assert not found
    assert len(file.items) == 1
    assert format(Source("identity", text)) == text


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_parse_whole(path: Path) -> None:
    """The language's own samples have no mistake of syntax."""
    text = path.read_text("utf-8")
    file, found = parse(Source(path.name, text))
    assert not found
    assert joined(file.tokens) == text


BROKEN = 'a = 007 .5 1_0% “x” "open\n$3.x ; 12abc\r\n\ufeff tuned = sha256:ff """a\nb""" true_ \x00'


@pytest.mark.parametrize("text", [*(path.read_text("utf-8") for path in SAMPLES), BROKEN])
def test_tokens_are_those_of_larks_own_lexer(text: str) -> None:
    """Ours reads the same grammar in the same order; only the bookkeeping differs."""
    ours = [(each.kind, each.text, each.span.start) for each in lex(Source("x", text))[:-1]]
    assert ours == [(each.type, str(each), each.start_pos) for each in grammar().lex(text)]


def test_documentation_belongs_to_the_next_declaration() -> None:
    """`##` lines right above; a trailing comment is no documentation."""
    text = "tune 1\nlet a = 1  ## no\n\n## First.\n## Second.\nlet b = 2\n"
    declarations = [i for i in parse(Source("x", text))[0].items if isinstance(i, Declaration)]
    assert [each.doc for each in declarations] == ["", "First.\nSecond."]


def test_the_hash_ignores_layout_and_comments() -> None:
    """Reformatting, comments and optional commas keep it; a changed value does not."""
    one = "tune 1\nlet a = [1, 2]\nstage s: sft { lr = 1, x = 2 }\n"
    two = "tune 1\n\n# why\nlet a = [\n  1,\n  2,\n]\nstage s: sft {\n  lr = 1\n  x = 2\n}\n"
    hashes = [digest(parse(Source("x", text))[0]) for text in (one, two, one.replace("2", "3"))]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    "text",
    ["{" * 10_000, "[" * 10_000, "a = [" * 3000, "\x00" * 1000, ";" * 200_000, "“" * 50_000],
    ids=["braces", "brackets", "nested", "nul", "semicolons", "quotes"],
)
def test_garbage_is_one_clear_finding(text: str) -> None:
    """No exception, in under two seconds, and never a flood of findings."""
    start = time.perf_counter()
    _, found = parse(Source("garbage", text))
    assert 1 <= len(found) <= 102
    assert time.perf_counter() - start < 2


def test_a_damaged_cache_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grammar cache that cannot be read is built anew."""
    from tunelang.syntax import lexer

    monkeypatch.setattr(lexer, "user_cache_path", lambda name: tmp_path)
    lexer.grammar.cache_clear()
    lexer.grammar()
    (cache,) = tmp_path.glob("grammar-*.lark")
    cache.write_bytes(b"damaged")
    lexer.grammar.cache_clear()
    assert not parse(Source("x", "tune 1\nlet a = 1\n"))[1]
    lexer.grammar.cache_clear()
