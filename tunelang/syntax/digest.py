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
    """Separators of items become one `;`; commas before a closing bracket vanish."""
    depth: list[str] = []
    waiting = False
    for token in tokens:
        if token.kind in ("NEWLINE", "COMMA", "END"):
            inside = bool(depth) and depth[-1] != "LBRACE"
            waiting |= not inside or token.kind == "COMMA"
            continue
        closing = token.kind in ("RPAR", "RSQB", "RBRACE")
        if waiting and not closing and not (depth and token is tokens[0]):
            yield ";"
        waiting = False
        if token.kind in ("LPAR", "LSQB", "LBRACE"):
            depth.append(token.kind)
        elif closing and depth:
            depth.pop()
        yield token.text
        if token.kind == "LBRACE":
            waiting = False
