"""The pages of the rules: `docs/rules/NAME.md` is what people read and what tests execute.

The third line of a page is its header: `TL202 · error · safe fix`, and `· waits for NAME` where
what it judges (a method, a field) is not part of this version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tunelang.diagnostic import Severity

HEADER = re.compile(
    r"(?P<code>T[LS]\d+) · (?P<severity>error|warning|hint) · (?P<fix>no|safe|unsafe) fix"
    r"(?: · waits for (?P<waits>.+))?"
)
PACKAGED = Path(__file__).parent / "pages"  # in a wheel
CHECKOUT = Path(__file__).parents[2] / "docs" / "rules"


@dataclass(frozen=True)
class Page:
    """One rule as its page describes it. `fix` is "no", "safe" or "unsafe"."""

    name: str
    code: str
    severity: Severity
    fix: str
    waits: str
    text: str

    @property
    def summary(self) -> str:
        """The first paragraph below the header."""
        return " ".join(self.text.split("\n\n")[2].split())


@cache
def pages() -> dict[str, Page]:
    """Every page by the name of its rule, in the order of their codes."""
    folder = PACKAGED if PACKAGED.is_dir() else CHECKOUT
    found = [_read(path) for path in folder.glob("*.md") if path.stem != "README"]
    return {page.name: page for page in sorted(found, key=lambda page: page.code)}


def page(wanted: str) -> Page | None:
    """The page of a rule by its name or code."""
    return pages().get(wanted) or next((p for p in pages().values() if p.code == wanted), None)


def _read(path: Path) -> Page:
    text = path.read_text("utf-8")
    title, _, header = text.split("\n", 3)[:3]
    match = HEADER.fullmatch(header)
    if match is None or title != f"# {path.stem}":
        raise ValueError(f"{path.name}: the first lines are `# NAME` and `CODE · severity · fix`")
    severity = Severity(match["severity"])
    return Page(path.stem, match["code"], severity, match["fix"], match["waits"] or "", text)
