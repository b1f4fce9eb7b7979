"""Figures as plans print them: bytes, bands of time, money, and a bar."""

from __future__ import annotations

EIGHTHS = " ▏▎▍▌▋▊▉█"  # a cell of a bar, in eighths
UNITS = ((172800, 86400, "d"), (5400, 3600, "h"), (90, 60, "min"), (0, 1, "s"))


def gib(size: float) -> str:
    """Bytes as people compare them with a card: `18.9 GiB`."""
    return f"{size / 2**30:,.1f} GiB"


def amount(size: float) -> str:
    """Bytes of something small, too: `3.4 MiB` below a tenth of a GiB."""
    return gib(size) if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"


def of(part: float, whole: float) -> str:
    """`66.4 of 79.2 GiB`."""
    return f"{part / 2**30:.1f} of {gib(whole)}"


def span(seconds: float) -> str:
    """`45 s`, `3 min`, `2.4 h`, `3.1 d`."""
    size, unit = _unit(seconds)
    return f"{_count(seconds, size, unit)} {unit}"


def band(low: float, high: float) -> str:
    """`6.4–11.6 h`: the unit once where both ends have it, and no band where both read alike."""
    (_, unit), (size, other) = _unit(low), _unit(high)
    if unit != other:
        return f"{span(low)}–{span(high)}"
    first, last = _count(low, size, unit), _count(high, size, unit)
    return span(high) if first == last else f"{first}–{last} {unit}"


def _unit(seconds: float) -> tuple[int, str]:
    return next((size, unit) for least, size, unit in UNITS if seconds >= least)


def _count(seconds: float, size: int, unit: str) -> str:
    return f"{seconds / size:.1f}" if unit in ("h", "d") else f"{seconds / size:.0f}"


def dollars(amount: float) -> str:
    """Cents where they matter."""
    return f"${amount:,.2f}" if amount < 1000 else f"${amount:,.0f}"


def bar(share: float, cells: int) -> str:
    """A share of a whole as so many cells, eighths of one at its end; `░` is what is left."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(cells, "░")
