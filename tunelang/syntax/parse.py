"""Text -> tree and syntax diagnostics. The whole file first; item by item after a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lark.exceptions import UnexpectedToken

from tunelang.diagnostic import Diagnostic, Edit, Fix, error, warning
from tunelang.source import Source, Span
from tunelang.syntax.lexer import JUNK, MOST_JUNK, MOST_TOKENS, complete, grammar, lex
from tunelang.syntax.nodes import Nodes, leaf
from tunelang.syntax.tree import File, Token

OPEN = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
EDITION = 1  # the one this compiler reads; `fmt` brings older files to it
DEEPEST = 64  # no recipe nests blocks or lists this deep
MOST = 100  # diagnostics of one file


def parse(source: Source) -> tuple[File, list[Diagnostic]]:
    """The lossless tree of a text and what is wrong with its syntax. Raises nothing on any text."""
    tokens = lex(source)
    hopeless = impossible(tokens)
    if hopeless:
        return _unread(source), [hopeless]
    file = _whole(source, tokens)
    found: list[Diagnostic] = []
    if file is None:
        from tunelang.syntax.recover import recover

        file, found = recover(source, tokens)
    return finished(file, found)


def finished(file: File, found: list[Diagnostic]) -> tuple[File, list[Diagnostic]]:
    """The file with what is wrong with its syntax, its edition included, in order."""
    return file, _capped(_edition(file) + found)


def _unread(source: Source) -> File:
    """A file without items, so that nothing after the parser spends time on what is no recipe."""
    end = len(source.text)
    return File(source, None, (), (Token("END", "", Span(source, end, end), source.text),))


def impossible(tokens: tuple[Token, ...]) -> Diagnostic | None:
    """Texts that are no recipe at all get one diagnostic."""
    if not complete(tokens):
        return _endless(tokens)
    depth = 0
    for token in tokens:
        depth += (token.kind in OPEN) - (token.kind in OPEN.values())
        if depth > DEEPEST:
            return error(
                "TL005",
                "unclosed-bracket",
                f"brackets nest more than {DEEPEST} deep",
                token.span,
                "too deep",
                help="close some of the brackets before this one",
            )
    return None


def _endless(tokens: Sequence[Token]) -> Diagnostic:
    """Why a text was not read to its end."""
    if sum(token.kind in JUNK for token in tokens) > MOST_JUNK:
        return error(
            "TL008",
            "stray-character",
            "this is not a recipe: it is full of characters that mean nothing",
            tokens[0].span,
            "starts here",
        )
    return error(
        "TL012",
        "unreadable-file",
        f"this is too long for a recipe: it has more than {MOST_TOKENS:,} words and marks",
        tokens[0].span,
        "starts here",
        help="import parts of it from files of their own",
    )


def significant(tokens: Iterable[Token]) -> Iterable[tuple[int, Token]]:
    """Tokens with their index, without END and without newlines inside `(` and `[`."""
    stack: list[str] = []
    for index, token in enumerate(tokens):
        if token.kind == "END" or (token.kind == "NEWLINE" and stack and stack[-1] != "LBRACE"):
            continue
        if token.kind in OPEN:
            stack.append(token.kind)
        elif token.kind in OPEN.values() and stack:
            stack.pop()
        yield index, token


def _whole(source: Source, tokens: tuple[Token, ...]) -> File | None:
    if any(token.kind in JUNK for token in tokens):
        return None
    interactive = grammar().parse_interactive("", start="start")
    last = None
    try:
        for index, token in significant(tokens):
            last = leaf(token, index)
            interactive.feed_token(last)
        tree = interactive.feed_eof(last)  # type: ignore[no-untyped-call]
    except UnexpectedToken:
        return None
    nodes = Nodes(tokens)
    headers = [child for child in tree.children if getattr(child, "data", "") == "header"]
    edition = nodes.token(headers[0].children[1]) if headers else None
    return File(source, edition, nodes.items(tree.children), tokens)


def _edition(file: File) -> list[Diagnostic]:
    """TL001 missing-edition and TL002 unknown-edition."""
    start = Span(file.source, 0, 0)
    if file.edition is None:
        if any(token.text == "tune" for token in file.tokens[:3]):
            return []  # a broken edition line has been reported
        line = f"tune {EDITION}"
        fix = Fix(f"add `{line}`", (Edit(start, f"{line}\n"),), safe=True)
        first = Span(file.source, 0, min(1, len(file.source.text)))
        return [
            warning(
                "TL001",
                "missing-edition",
                "the file does not say which edition of the language it is in",
                first,
                f"starts without `{line}`",
                help=f"write `{line}` on the first line",
                fix=fix,
            )
        ]
    if file.edition.text != str(EDITION):
        return [
            error(
                "TL002",
                "unknown-edition",
                f"this compiler does not know edition {file.edition.text}",
                file.edition.span,
                f"not {EDITION}",
                help=f"it knows edition {EDITION}; `tunelang fmt` brings older files to it",
            )
        ]
    return []


def _capped(found: list[Diagnostic]) -> list[Diagnostic]:
    found = sorted(found, key=lambda each: each.at.span.start if each.at else 0)
    if len(found) <= MOST:
        return found
    last = found[MOST]
    assert last.at is not None
    rest = error(
        "TL008",
        "stray-character",
        f"there are {len(found) - MOST} more mistakes of syntax below",
        last.at.span,
        "from here on",
    )
    return [*found[:MOST], rest]
