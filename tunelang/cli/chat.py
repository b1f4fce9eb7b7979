"""`tunelang chat`: talk to what a stage made; piped, one line in is one reply out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunelang.cli.finished import Wanted, end, finished

if TYPE_CHECKING:
    from tunelang.run.speak import Speaker

INTERRUPTED = 130


def chat(
    stage: Annotated[str, typer.Argument(help="The stage to talk to.")],
    recipe: Annotated[Path | None, typer.Option(help="Its recipe; else the only one here.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply in tokens.")] = 256,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 always takes the likeliest.")
    ] = 0.7,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
) -> None:
    """Talk to what a stage made. `/new` starts over, Ctrl-D ends."""
    from tunelang.errors import UserError
    from tunelang.run.speak import speaking

    store, step = finished(Wanted(stage, recipe, profile))
    how = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    try:
        with speaking(store, step) as speaker:
            if not speaker.template:
                typer.echo(f"`{stage}` knows no turns: it continues each line alone", err=True)
            _converse(speaker, how)
    except UserError as problem:
        end([problem.diagnostic])
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _converse(speaker: Speaker, how: dict[str, float]) -> None:
    """The whole conversation so far goes along with each message."""
    messages: list[dict[str, str]] = []
    for said in _said():
        if said == "/new":
            messages.clear()
            continue
        messages.append({"role": "user", "content": said})
        request = {"messages": messages} if speaker.template else {"prompt": said}
        reply = ""
        for piece in speaker.ask({**request, **how}):
            sys.stdout.write(piece)
            sys.stdout.flush()
            reply += piece
        sys.stdout.write("\n")
        sys.stdout.flush()
        messages.append({"role": "assistant", "content": reply})


def _said() -> Iterator[str]:
    """What the user says, a line at a time, with a prompt on a terminal."""
    while True:
        if sys.stdin.isatty():
            sys.stdout.write("> ")
            sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
