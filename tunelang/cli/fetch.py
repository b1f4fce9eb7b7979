"""`tunelang fetch`: the files that a recipe imports from the hub, into the hub's own cache."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, show_findings
from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe import hub


def fetch(recipe: Annotated[Path, typer.Argument(help="The recipe.")]) -> None:
    """Download the files that a recipe imports from the hub."""
    found: list[Diagnostic] = []
    for place in places(recipe, found):
        fetched = hub.cached(place) or _download(place, found)
        if fetched:
            sys.stdout.write(f"hub:{place.repository}@{place.version}  {fetched}\n")
    show_findings(found)
    leave(found)


def places(path: Path, found: list[Diagnostic]) -> Iterator[hub.Place]:
    """The hub imports of a recipe file and of the local files it imports."""
    from tunelang.recipe.literals import unquote
    from tunelang.recipe.load import read_source
    from tunelang.syntax.parse import parse
    from tunelang.syntax.tree import Import

    seen: set[Path] = set()
    ahead = [path]
    while ahead:
        each = ahead.pop()
        source, problems = read_source(each, str(each))
        found += problems
        seen.add(each.resolve())
        items = parse(source)[0].items if source else ()
        for text in [unquote(item.place.text) for item in items if isinstance(item, Import)]:
            place = hub.parse(text)
            if place:
                yield place
            elif (local := each.parent / text).resolve() not in seen:
                ahead.append(local)


def _download(place: hub.Place, found: list[Diagnostic]) -> str | None:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        help = "pip install 'tunelang[train]'"
        message = "downloading needs the library huggingface_hub"
        found.append(error("TL715", "training-not-installed", message, None, help=help))
        return None
    try:
        wanted = {"filename": hub.FILE, "repo_type": "dataset", "revision": place.version}
        return str(hf_hub_download(place.repository, **wanted))
    except Exception as problem:  # the library raises its own, httpx's and the system's
        first = str(problem).strip().splitlines()[0]
        message = f"`hub:{place.repository}@{place.version}` cannot be downloaded: {first}"
        help = "the repository is a data set on the hub, the version one of its tags"
        found.append(error("TL012", "unreadable-file", message, None, help=help))
        return None
