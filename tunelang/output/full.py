"""Diagnostics for people: the place in the recipe, a caret under it, help and fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunelang.diagnostic import Diagnostic, Label, Severity
from tunelang.source import Span

TAB = 4  # columns a tab is printed as
# Characters of a line that are shown: twice what the formatter allows, for lines it has not met.
WIDEST = 200
BEFORE = 60  # of those before the caret
COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.HINT: "36"}


def OUTPUT(found: Sequence[Diagnostic], *, colour: bool = False) -> str:
    """Every finding in the order of its place, an empty line after each."""
    ordered = sorted(found, key=_order)
    return "".join("\n".join(_one(each, colour)) + "\n\n" for each in ordered)


def _order(each: Diagnostic) -> tuple[str, int]:
    return (each.at.span.source.name, each.at.span.start) if each.at else ("", -1)


def _one(each: Diagnostic, colour: bool) -> Iterator[str]:
    paint = f"\x1b[1;{COLOURS[each.severity]}m" if colour else ""
    end, bold = ("\x1b[0m", "\x1b[1m") if colour else ("", "")
    yield f"{paint}{each.severity}[{each.code}]{end} {bold}{each.name}: {each.message}{end}"
    labels = [label for label in (each.at, *each.others) if label]
    margin = max((len(str(_line(label.span))) for label in labels), default=1)
    if each.at:
        yield f"{' ' * margin} ┌─ {each.at.span.place}"
        yield from _excerpt(labels, margin, (paint, end), each.at)
    if each.help:
        yield f"{' ' * margin} = help: {each.help}"
    if each.fix:
        yield f"{' ' * margin} = fix ({'safe' if each.fix.safe else 'unsafe'}): {each.fix.title}"


def _line(span: Span) -> int:
    return span.source.position(span.start)[0]


def _excerpt(
    labels: list[Label], margin: int, paint: tuple[str, str], main: Label
) -> Iterator[str]:
    """The lines of the labels in order, `⋮` between lines that do not touch."""
    source = main.span.source
    number, previous = 0, (0, 0)
    for label in sorted(labels, key=lambda each: (each.span.source is not source, each.span.start)):
        if label.span.source is not source:
            yield f"{' ' * margin} ├─ {label.span.place}"
            source, number, previous = label.span.source, 0, (0, 0)
        if number and _line(label.span) > number + 1:
            yield f"{' ' * margin} ⋮"
        number = _line(label.span)
        first, line = _shown(label.span)
        if (number, first) != previous:
            yield f"{number:>{margin}} │ {line}".rstrip()
        previous = number, first
        yield f"{' ' * margin} │ {_carets(label, '^' if label is main else '-', paint)}"


def _shown(span: Span) -> tuple[int, str]:
    """A line as it is printed; of one too long, what is near the span, and how much is before."""
    number, column = span.source.position(span.start)
    line = span.source.line(number)
    first = max(0, min(column - 1 - BEFORE, len(line) - WIDEST)) if len(line) > WIDEST else 0
    cut = "…" if first else ""
    rest = "…" if len(line) > first + WIDEST else ""
    return first, cut + _expand(line[first : first + WIDEST]) + rest


def _carets(label: Label, mark: str, paint: tuple[str, str]) -> str:
    start, length = _columns(label.span)
    colour, end = paint if mark == "^" else ("", "")
    return f"{' ' * start}{colour}{mark * length} {label.text}".rstrip() + end


def _columns(span: Span) -> tuple[int, int]:
    """Where the carets stand and how many, in columns of a terminal; one line at most."""
    number, column = span.source.position(span.start)
    first, _ = _shown(span)
    line = span.source.line(number)[: first + WIDEST]
    inside = line[column - 1 : column - 1 + max(1, span.end - span.start)]
    return (1 if first else 0) + _width(line[first : column - 1]), max(1, _width(inside))


def _expand(line: str) -> str:
    return "".join(" " * TAB if c == "\t" else c if c.isprintable() else "�" for c in line)


def _width(text: str) -> int:
    """Columns a terminal gives the text as it is printed: two to 漢 and 😀, none to accents."""
    shown = _expand(text)
    if shown.isascii():
        return len(shown)
    from rich.cells import cell_len  # rich takes 4 ms, and few lines need it

    return cell_len(shown)
