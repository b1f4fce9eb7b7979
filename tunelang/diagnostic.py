"""What the compiler says about a recipe: one value for CLI, editor, SARIF, plan and run.

User mistakes are diagnostics: collected, never raised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tunelang.source import Span


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


@dataclass(frozen=True)
class Label:
    """A place in the recipe and the few words written under it."""

    span: Span
    text: str


@dataclass(frozen=True)
class Edit:
    """Replace the text of a span."""

    span: Span
    text: str


@dataclass(frozen=True)
class Fix:
    """Edits that mend the mistake. Safe means: no stage key changes."""

    title: str
    edits: tuple[Edit, ...]
    safe: bool


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `message` says what is wrong in the recipe's words, `help` what to do.

    `at` is None where no recipe text is to blame (a full disk, a crashed worker).
    """

    code: str
    name: str
    severity: Severity
    message: str
    at: Label | None = None
    others: tuple[Label, ...] = ()
    help: str = ""
    fix: Fix | None = None


@dataclass(frozen=True)
class Maker:
    """Makes findings of one severity; the keyword names follow `Diagnostic`."""

    severity: Severity

    def __call__(
        self,
        code: str,
        name: str,
        message: str,
        span: Span | None,
        label: str = "",
        *,
        help: str = "",
        others: tuple[Label, ...] = (),
        fix: Fix | None = None,
    ) -> Diagnostic:
        at = Label(span, label) if span else None
        return Diagnostic(code, name, self.severity, message, at, others, help, fix)


error = Maker(Severity.ERROR)
warning = Maker(Severity.WARNING)
hint = Maker(Severity.HINT)


def replace(span: Span, text: str, *, safe: bool) -> Fix:
    """The commonest fix: one span becomes `text`."""
    return Fix(f"{span.text or 'nothing'} → {text}", (Edit(span, text),), safe)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(found.severity is Severity.ERROR for found in diagnostics)
