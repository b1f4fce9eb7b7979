"""Our exception family.

    TuneError                 anything TuneLang raises on purpose
    └── UserError             a user's mistake met where no list of diagnostics can be returned
        ├── RowError          rows that cannot be read (sources)
        └── StoreError        the store has no room (run/store.py)

A `UserError` carries the diagnostic to print; everything else that is raised is our mistake.
"""

from __future__ import annotations

from tunelang.diagnostic import Diagnostic


class TuneError(Exception):
    """What TuneLang raises on purpose."""


class UserError(TuneError):
    """A user's mistake found deep inside: print the diagnostic, exit 1."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
