"""Colour on a terminal: a pen that paints, or leaves text as it is."""

from __future__ import annotations

from dataclasses import dataclass

from tunelang.estimate.reserve import ACCEPT, REFUSE

PLAIN, BOLD, DIM = "", "1", "2"
GREEN, YELLOW, RED = "32", "33", "31"


@dataclass(frozen=True)
class Painted:
    """`on` a terminal that takes colour; else every text stays plain."""

    on: bool

    def __call__(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.on and style and text.strip() else text


def verdict(share: float) -> str:
    """The colour of a share of what may be used: accepted, warned of, refused."""
    return GREEN if share <= ACCEPT else YELLOW if share <= REFUSE else RED
