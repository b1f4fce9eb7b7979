"""Mistakes in the first line of a declaration: what stands between its kind, name and value."""

from __future__ import annotations

from tunelang.diagnostic import Diagnostic, Edit, Fix, error
from tunelang.source import Span
from tunelang.syntax.lexical import Mistake
from tunelang.syntax.tree import Token

NAMELESS = ["NAME", "COLON", "NAME", "EXTENDS", "NAME"]


def header(mistake: Mistake) -> Diagnostic | None:
    """`stage chat sft {`, `stage chat = sft {`, `data d: hf(...)`, `data: d = hf(...)`."""
    kinds = [token.kind for token in mistake.tokens]
    tokens, at = mistake.tokens, mistake.at
    if at == 2 and kinds[:3] == ["NAME", "NAME", "NAME"] and kinds[3:4] not in (["EQ"], ["COLON"]):
        called = kinds[3:4] == ["LPAR"]
        mark = "=" if called else ":"
        return _wrong(tokens[1:3], f" {mark} " if called else ": ", mark)
    if at == 4 and kinds[:5] == ["NAME", "NAME", "EQ", "NAME", "LBRACE"]:
        return _wrong(tokens[1:4], ": ", ":")
    if at == 4 and kinds[:5] == ["NAME", "NAME", "COLON", "NAME", "LPAR"] and _one_line(tokens):
        return _wrong(tokens[1:4], " = ", "=")
    if at == 1 and kinds[:4] == ["NAME", "COLON", "NAME", "EQ"]:
        return _wrong(tokens[0:3], " ", "")
    if "LBRACE" in kinds and kinds[: kinds.index("LBRACE")] in (
        ["NAME", "COLON", "NAME"],
        NAMELESS,
    ):
        return _half(tokens)
    return None


def _half(tokens: tuple[Token, ...]) -> Diagnostic:
    """TL103: `chat: sft {` lacks its kind, `stage: sft {` its name."""
    span = tokens[0].span
    return error(
        "TL103",
        "unknown-kind",
        "this declaration has one word where its kind and its name stand",
        span,
        "the kind or the name is missing",
        help="write it like `stage chat: sft {`",
    )


def _one_line(tokens: tuple[Token, ...]) -> bool:
    """Fields below a `(` mean that it should be a `{`."""
    return "\n" not in tokens[4].span.to(tokens[-1].span).text


def _wrong(tokens: tuple[Token, ...], text: str, mark: str) -> Diagnostic:
    """The tokens of one gap: the first and last are right, what is between is not."""
    first, last = tokens[0], tokens[-1]
    gap = Span(first.span.source, first.span.end, last.span.start)
    needs = f"a `{mark}`" if mark else "no `:`"
    return error(
        "TL009",
        "colon-for-equals",
        f"`{first.span.to(last.span).text}` needs {needs} in between",
        last.span,
        f"needs {needs} before this",
        help="`:` gives a declaration its type; `=` gives it its value",
        fix=Fix(f"write {(first.text + text + last.text)}", (Edit(gap, text),), safe=True),
    )
