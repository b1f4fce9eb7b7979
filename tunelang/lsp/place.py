"""Where a place in the text stands: the brackets around it and what of its item is before it.

Only tokens are looked at, so a half-written recipe has places like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunelang.recipe.kinds import KINDS
from tunelang.syntax.parse import OPEN
from tunelang.syntax.tree import Token

WORDS = ("NAME", "NUMBER", "MEASURE", "BAD_NUMBER", "TRUE", "FALSE", "IMPORT", "AS", "EXTENDS")
TEXTS = ("STRING", "TEXT", "BAD_STRING")


@dataclass(frozen=True)
class Frame:
    """An open bracket: its token, the tokens of its item before it, and where its inside starts."""

    opener: Token
    head: tuple[Token, ...]
    start: int


@dataclass(frozen=True)
class Place:
    """The open brackets, outermost first, the item's tokens so far, and the token at the place."""

    frames: tuple[Frame, ...]
    item: tuple[Token, ...]
    index: int
    word: Token | None


def walk(tokens: Sequence[Token]) -> Iterator[tuple[int, list[Frame], list[Token]]]:
    """For each token its index, the open brackets, and its item's tokens before it.

    The lists are those of the walk itself: copy what must outlive the step.
    """
    frames: list[Frame] = []
    item: list[Token] = []
    for index in range(len(tokens)):
        if frames and _at_margin(tokens, index):
            frames.clear()
            item.clear()
        yield index, frames, item
        item = _after(tokens, index, frames, item)


def _after(
    tokens: Sequence[Token], index: int, frames: list[Frame], item: list[Token]
) -> list[Token]:
    """The item's tokens once this one is read; opens and closes frames on the way."""
    token = tokens[index]
    if token.kind in OPEN:
        frames.append(Frame(token, tuple(item), index + 1))
        return []
    if token.kind in OPEN.values():
        return _closed(token, frames, item)
    if token.kind == "COMMA":
        return []
    if token.kind != "NEWLINE":
        item.append(token)
        return item
    if frames and frames[-1].opener.kind != "LBRACE":
        if not _ends_call(tokens, index):
            return item
        while frames and frames[-1].opener.kind != "LBRACE":
            frames.pop()
    return []


def _closed(token: Token, frames: list[Frame], item: list[Token]) -> list[Token]:
    """The item that the closed bracket belongs to; a stray closer closes nothing."""
    if not any(OPEN[frame.opener.kind] == token.kind for frame in frames):
        return item
    while frames:
        frame = frames.pop()
        if OPEN[frame.opener.kind] == token.kind:
            return [*frame.head, frame.opener, token]
    return item


def _at_margin(tokens: Sequence[Token], index: int) -> bool:
    """A declaration in column 1 closes every bracket, as recovery has it."""
    token = tokens[index]
    if token.gap or (index and tokens[index - 1].kind != "NEWLINE"):
        return False
    if token.kind == "IMPORT":
        return True
    return token.kind == "NAME" and token.text in KINDS and tokens[index + 1].kind == "NAME"


def _ends_call(tokens: Sequence[Token], index: int) -> bool:
    """Whether the line end closes a `(` that was left open: an item starts behind it."""
    if index and tokens[index - 1].kind in ("COMMA", "LPAR", "LSQB"):
        return False
    after = [token.kind for token in tokens[index + 1 : index + 12] if token.kind != "NEWLINE"]
    return after[:2] in (["NAME", "EQ"], ["NAME", "LBRACE"], ["NAME", "NAME"]) or (
        after[:1] == ["RBRACE"]
    )


def place(tokens: Sequence[Token], index: int, word: Token | None = None) -> Place:
    """The place just before the token number `index`."""
    for at, frames, item in walk(tokens):
        if at == index:
            return Place(tuple(frames), tuple(item), index, word)
    return Place((), (), index, word)


def writing(tokens: Sequence[Token], offset: int) -> Place | None:
    """The place of a cursor that writes; None in comments and texts."""
    for index, token in enumerate(tokens):
        span = token.span
        if token.kind in TEXTS and span.start < offset < span.end + (token.kind == "BAD_STRING"):
            return None
        if span.start < offset <= span.end and token.kind in WORDS:
            return place(tokens, index, token)
        if span.start >= offset:
            gap = token.gap[: len(token.gap) - (span.start - offset)]
            return None if "#" in gap else place(tokens, index)
    return None


def index_at(tokens: Sequence[Token], offset: int) -> int | None:
    """The token that a place touches; a word wins over the sign beside it."""
    touching = [
        index
        for index, token in enumerate(tokens)
        if token.text.strip() and token.span.start <= offset <= token.span.end
    ]
    words = [index for index in touching if tokens[index].kind in WORDS]
    return next(iter(words or touching), None)
