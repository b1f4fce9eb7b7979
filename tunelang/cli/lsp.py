"""`tunelang lsp`: the language server, spoken to over stdin and stdout."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Annotated

import typer

MISSING = "The language server needs pygls: pip install 'tunelang[lsp]'\n"


def lsp(
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Speak over stdin and stdout, as it always does.")
    ] = True,
) -> None:
    """Serve an editor until it says goodbye."""
    if find_spec("pygls") is None:
        sys.stderr.write(MISSING)
        raise typer.Exit(1)
    from tunelang.lsp.server import server

    server.start_io()
