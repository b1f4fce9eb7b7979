"""The hash of a file's canonical token text: layout, comments and optional commas do not count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tunelang.syntax.tree import File, Token


def digest(file: File) -> str:
    """sha256, in hex, over the tokens one per line."""
    text = "\n".join(_canonical(file.tokens))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(tokens: tuple[Token, ...]) -> Iterator[str]:
    """Separators of items become one `;`; those next to a bracket vanish."""
    depth: list[str] = []
    separated = False
    before = ""
    for token in tokens:
        if token.kind in ("NEWLINE", "COMMA", "END"):
            inside = bool(depth) and depth[-1] != "LBRACE"
            separated |= token.kind == "COMMA" or not inside
            continue
        closing = token.kind in ("RPAR", "RSQB", "RBRACE")
        if separated and before and not closing and before not in ("LPAR", "LSQB", "LBRACE"):
            yield ";"
        separated, before = False, token.kind
        if token.kind in ("LPAR", "LSQB", "LBRACE"):
            depth.append(token.kind)
        elif closing and depth:
            depth.pop()
        yield token.text
