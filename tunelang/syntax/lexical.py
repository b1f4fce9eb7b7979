"""Mistakes inside one token: unfinished text, malformed numbers, stray characters."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunelang.diagnostic import Diagnostic, Edit, Fix, error, replace
from tunelang.source import Span
from tunelang.syntax.tree import Token

QUOTES = ("“”„«»", "‘’‚", "'")  # families: a text opens and closes with marks of one
_BRACKETS = ("LPAR", "RPAR", "LBRACE", "RBRACE", "RSQB")
NUMBERS = {"NUMBER", "MEASURE", "BAD_NUMBER"}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Mistake:
    """The tokens of one item, the index of the one that does not fit, and what would have."""

    tokens: tuple[Token, ...]
    at: int
    accepts: frozenset[str]

    @property
    def bad(self) -> Token | None:
        """The token that does not fit; None where the item ended too early."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    @property
    def before(self) -> Token | None:
        return self.tokens[self.at - 1] if self.at > 0 else None

    @property
    def after(self) -> Token | None:
        return self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None


def string(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    if not (bad and bad.kind == "BAD_STRING"):
        return None
    end = bad.span.start + len(_text(mistake))
    fix = Fix('add `"`', (Edit(Span(bad.span.source, end, end), '"'),), safe=False)
    return error(
        "TL004",
        "unterminated-string",
        "this text has no closing quote",
        bad.span,
        "runs to the end of the line",
        help='text of several lines stands in """',
        fix=fix,
    )


def _text(mistake: Mistake) -> str:
    """What the unfinished text probably holds: not the comma and brackets that end its line."""
    assert mistake.bad
    kinds = [token.kind for token in mistake.tokens[: mistake.at]]
    inside = sum(kinds.count(kind) for kind in ("LPAR", "LSQB")) > sum(
        kinds.count(kind) for kind in ("RPAR", "RSQB")
    )
    return mistake.bad.text.rstrip(" \t,)]" if inside else " \t,")


def number(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    if bad and bad.kind == "COMMA" and in_number(mistake.before, bad, mistake.after):
        return _decimal_comma(mistake)
    if bad and _glued(mistake):
        bad = Token("BAD_NUMBER", "", mistake.tokens[mistake.at - 1].span.to(bad.span))
    dotted = (
        bad
        and bad.kind == "DOT"
        and mistake.after
        and mistake.after.kind in ("NUMBER", "MEASURE", "BAD_NUMBER")
    )
    if not bad or not (bad.kind == "BAD_NUMBER" or dotted):
        return None
    span = bad.span.to(mistake.after.span) if dotted and mistake.after else bad.span
    fixed, safe, why = _mended(span.text)
    fix = replace(span, fixed, safe=safe) if fixed else None
    return error(
        "TL003",
        "malformed-number",
        f"`{span.text}` is not a number",
        span,
        f"write `{fixed}`" if fixed else "malformed",
        help=why,
        fix=fix,
    )


def _glued(mistake: Mistake) -> bool:
    """`1e-4x` is read as `1e` and `-4x`."""
    bad, before = mistake.bad, mistake.before
    return bool(bad and before and not bad.gap and {bad.kind, before.kind} <= NUMBERS)


def in_number(before: Token | None, comma: Token, after: Token | None) -> bool:
    """The comma of `1,5` touches two numbers."""
    return bool(
        before
        and after
        and {before.kind, after.kind} <= NUMBERS
        and re.fullmatch(r"-?[0-9]+", before.text)
        and not (comma.gap or after.gap)
    )


def _decimal_comma(mistake: Mistake) -> Diagnostic | None:
    """`1,5` and `100,000`; the comma is a token here only where it touches two numbers."""
    assert mistake.before and mistake.after
    span = mistake.before.span.to(mistake.tokens[-1].span)
    text = re.match(r"-?[0-9][0-9,.eE+-]*", span.text)
    assert text
    span = Span(span.source, span.start, span.start + text.end())
    grouped = re.fullmatch(r"-?[1-9][0-9]{0,2}(,[0-9]{3})+", span.text)
    fixed = span.text.replace(",", "_" if grouped else ".")
    return error(
        "TL003",
        "malformed-number",
        f"`{span.text}` is not a number",
        span,
        f"write `{fixed}`",
        help="the point is `.`, and digits are grouped with `_`",
        fix=replace(span, fixed, safe=False),
    )


def _mended(text: str) -> tuple[str, bool, str]:
    """What a malformed number most likely means, whether that is sure, and why it is wrong."""
    if re.fullmatch(r"-?\.[0-9]+.*", text):
        return text.replace(".", "0.", 1), True, "a number begins with a digit"
    if re.fullmatch(r"-?[0-9]+\.", text):
        return text[:-1], True, "a number ends with a digit"
    if re.fullmatch(r"-?0+[1-9][0-9]*", text):
        return re.sub(r"^(-?)0+", r"\1", text), True, "numbers have no leading zeros"
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        return str(int(text, 16)), True, "numbers are decimal"
    parts = re.findall(r"([0-9]+)(d|h|min|s)", text)
    if len(parts) > 1 and "".join(a + b for a, b in parts) == text:
        seconds = sum(int(amount) * _SECONDS[unit] for amount, unit in parts)
        unit = next(unit for unit in ("h", "min", "s") if seconds % _SECONDS[unit] == 0)
        return f"{seconds // _SECONDS[unit]}{unit}", True, "a duration has one unit"
    return "", False, "numbers look like `16`, `1e-4`, `60%`, `2k`, `80GB` or `30min`"


def stray(mistake: Mistake) -> Diagnostic | None:
    bad = mistake.bad
    if not (bad and bad.kind == "JUNK"):
        return None
    text = bad.text
    family = next((each for each in QUOTES if text in each), None)
    if family:
        return _quote(bad, family, mistake)
    name = text if text.isprintable() and not text.isspace() else f"U+{ord(text):04X}"
    becomes = " " if text.isspace() else ""
    # Without what stands between them `2*3` would be 23.
    fix = None if _between(bad) else Fix(f"delete {name}", (Edit(bad.span, becomes),), safe=True)
    why = {
        ";": "items end at the end of the line",
        "\ufeff": "save the file without a byte order mark",
        **dict.fromkeys("*/+-^", "there is no arithmetic: write the value"),
    }
    return error(
        "TL008",
        "stray-character",
        f"`{name}` means nothing in a recipe",
        bad.span,
        "stray",
        help=why.get(text, ""),
        fix=fix,
    )


def _between(bad: Token) -> bool:
    """Whether a character touches a word or number on either side."""
    text = bad.span.source.text
    left, right = text[: bad.span.start][-1:], text[bad.span.end :][:1]
    joined = all(side.isalnum() or side == "_" for side in (left or " ", right or " "))
    return joined and bad.text.isprintable() and not bad.text.isspace()


def _quote(bad: Token, family: str, mistake: Mistake) -> Diagnostic:
    """Every mark of the family in the item is mended at once: one alone would open a text."""
    marks = [each for each in mistake.tokens if each.kind == "JUNK" and each.text in family]
    edits = tuple(Edit(mark.span, '"') for mark in marks)
    kind = "a single quote" if family == "'" else "a typographic quote"
    return error(
        "TL008",
        "stray-character",
        f"`{bad.text}` is {kind}",
        bad.span,
        'write `"`',
        help='text stands in `"`',
        fix=Fix(f'{bad.text} → "', edits, safe=True),
    )


def twice(mistake: Mistake) -> Diagnostic | None:
    """`chat chat`, `= =`: the same token again where nothing can repeat."""
    bad, before, tokens = mistake.bad, mistake.before, mistake.tokens
    second = bad if bad and before and bad.text == before.text else None
    if mistake.at == 2 and tokens[0].text == tokens[1].text:
        second = tokens[1]
    if second is None or second.kind in _BRACKETS or "LSQB" in (each.kind for each in tokens):
        return None
    return again(second)


def again(second: Token) -> Diagnostic:
    """TL008 for a token that repeats the one before it."""
    return error(
        "TL008",
        "stray-character",
        f"`{second.text}` stands twice",
        second.span,
        "again here",
        fix=Fix(f"delete the second {second.text}", (Edit(second.span, ""),), safe=True),
    )
