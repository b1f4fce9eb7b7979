"""`tunelang generate`: replies of a stage to a prompt, or to a file of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tunelang.cli.finished import Wanted, end, finished
from tunelang.diagnostic import error

INTERRUPTED = 130


def generate(
    stage: Annotated[str, typer.Argument(help="The stage that replies.")],
    recipe: Annotated[Path | None, typer.Option(help="Its recipe; else the only one here.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the recipe.")] = None,
    prompt: Annotated[str | None, typer.Option(help="One prompt.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="A prompt a line, or .jsonl.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where JSON lines go; else stdout.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply in tokens.")] = 256,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 always takes the likeliest.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the text; no chat template.")
    ] = False,
) -> None:
    """Let what a stage made answer prompts."""
    from tunelang.errors import UserError

    if (prompt is None) == (prompts is None):
        raise typer.BadParameter("give either --prompt or --prompts")
    how = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, "raw": raw}
    try:
        asked = [{"prompt": prompt}] if prompts is None else read(prompts)
        replies = _replies(Wanted(stage, recipe, profile), asked, how)
        if prompts is None and out is None:
            sys.stdout.writelines(f"{reply}\n" for _, reply in replies)
        else:
            _write(replies, out)
    except UserError as problem:
        end([problem.diagnostic])
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def read(path: Path) -> list[dict[str, Any]]:
    """Prompts of a file. Raises `UserError` at the line that holds none."""
    from tunelang.errors import UserError

    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        found = error("TL012", "unreadable-file", f"`{path}` cannot be read: {problem}", None)
        raise UserError(found) from problem
    if path.suffix != ".jsonl":
        return [{"prompt": line} for line in lines if line.strip()]
    return [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    from tunelang.errors import UserError
    from tunelang.run.place import line_label

    try:
        row = json.loads(line)
    except ValueError:
        row = None
    asked = (
        {name: row[name] for name in ("prompt", "messages") if name in row}
        if isinstance(row, dict)
        else {}
    )
    if len(asked) == 1:
        return asked
    message = f"{path}:{number} is no JSON object with a `prompt` or `messages`"
    found = error("TL301", "missing-column", message, None)
    at = line_label(str(path), number, "this line")
    raise UserError(type(found)(found.code, found.name, found.severity, message, at))


def _replies(
    wanted: Wanted, asked: list[dict[str, Any]], how: Mapping[str, float]
) -> Iterator[tuple[dict[str, Any], str]]:
    from tunelang.run.speak import speaking

    store, step = finished(wanted)
    with speaking(store, step) as speaker:
        for one in asked:
            yield one, "".join(speaker.ask({**one, **how}))


def _write(replies: Iterator[tuple[dict[str, Any], str]], out: Path | None) -> None:
    """A JSON line a reply, as soon as it is there."""
    file = sys.stdout if out is None else out.open("w", encoding="utf-8")
    try:
        for asked, reply in replies:
            file.write(json.dumps({**asked, "reply": reply}, ensure_ascii=False) + "\n")
            file.flush()
    finally:
        if out is not None:
            file.close()
