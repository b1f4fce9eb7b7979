"""`tunelang new`: a recipe that checks clean, with rows to try it on."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tunelang.cli.rewrite import create

FOLDER = Path(__file__).parent / "templates"
DATA = re.compile(r'files\("(data/\w+\.jsonl)"')


def new(
    template: Annotated[
        str | None, typer.Argument(help="A template; without one all are listed.")
    ] = None,
    path: Annotated[
        Path | None, typer.Argument(help="The recipe to write, or a folder for it.")
    ] = None,
) -> None:
    """Write a recipe that checks clean, from a template."""
    if template is None:
        sys.stdout.write(listed())
        return
    text = templates().get(template)
    if text is None:
        _refuse("TL101", "unknown-name", f"no template is called `{template}`", _guess(template))
    recipe = _place(template, path)
    files = {recipe: text, **_examples(text, recipe.parent)}
    taken = [each for each, content in files.items() if not _free(each, content)]
    if taken:
        help = "name another path; nothing was written"
        _refuse("TL013", "cannot-write", f"`{taken[0]}` is there already", help)
    for each, content in files.items():
        _write(each, content)
    sys.stdout.write(f"try it: tunelang check {recipe}\n")


def templates() -> dict[str, str]:
    """The recipe of every template by its name."""
    return {each.stem: each.read_text("utf-8") for each in sorted(FOLDER.glob("*.tune"))}


def listed() -> str:
    """One line a template: its name and the first line of its documentation."""
    every = templates()
    width = max(map(len, every))
    lines = [f"{name:<{width}}  {text.split('## ')[1].strip()}" for name, text in every.items()]
    return "\n".join(lines) + "\n"


def _place(template: str, path: Path | None) -> Path:
    """A path that does not end in .tune is a folder."""
    wanted = path or Path()
    return wanted if wanted.suffix == ".tune" else wanted / f"{template}.tune"


def _examples(text: str, folder: Path) -> dict[Path, str]:
    """The files that a template reads."""
    from tunelang.cli.examples import example

    return {folder / name: example(name) for name in DATA.findall(text)}


def _free(path: Path, content: str) -> bool:
    """Templates share their rows: the same rows may be there, the recipe never."""
    if path.suffix == ".tune":
        return not path.exists()
    return not path.exists() or (path.is_file() and path.read_bytes() == content.encode())


def _write(path: Path, content: str) -> None:
    if not path.exists():
        create(path, content)
        sys.stdout.write(f"wrote {path}\n")


def _guess(template: str) -> str:
    from tunelang.recipe.names import did_you_mean, nearest

    every = ", ".join(f"`{name}`" for name in templates())
    return did_you_mean(nearest(template, templates())) or f"there are {every}"


def _refuse(code: str, name: str, message: str, help: str) -> NoReturn:
    """One error and exit code 1."""
    from tunelang.cli.finished import end
    from tunelang.diagnostic import error

    end([error(code, name, message, None, help=help)])
