"""Hashes of imports written into a recipe, and into the local files it imports.

A hash covers what the imported file imports only by the hashes that stand in it, so files are
frozen from the bottom up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path

from tunelang.diagnostic import Diagnostic, Edit
from tunelang.recipe.load import verify
from tunelang.recipe.names import Scope
from tunelang.source import Source, Span
from tunelang.syntax.digest import digest
from tunelang.syntax.edit import edited
from tunelang.syntax.parse import parse
from tunelang.syntax.tree import File, Import

SHOWN = 19  # characters of a hash: `sha256:` and twelve digits


@dataclass
class Frozen:
    """New texts by file, innermost first, and a line for each hash that was written."""

    texts: dict[Path, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    _hashes: dict[str, str] = field(default_factory=dict)

    def hash_of(self, scope: Scope) -> str:
        """The hash of a file as it will be; a remote one stays as it is."""
        name = scope.file.source.name
        if name not in self._hashes:
            now = scope.file if is_remote(scope) else self._file(scope)
            self._hashes[name] = f"sha256:{digest(now)}"
        return self._hashes[name]

    def _file(self, scope: Scope) -> File:
        edits = [
            self._edit(item, self.hash_of(inner), scope) for item, inner in scope.imports.values()
        ]
        text = edited(scope.file.source.text, [edit for edit in edits if edit])
        if text == scope.file.source.text:
            return scope.file
        self.texts[path_of(scope)] = text
        return parse(Source(scope.file.source.name, text))[0]

    def _edit(self, item: Import, now: str, scope: Scope) -> Edit | None:
        if item.hash is None:
            self._say("added", item, now, scope)
            return Edit(Span(item.span.source, item.span.end, item.span.end), f" {now}")
        if item.hash.text == now:
            return None
        self._say(f"{item.hash.text[:SHOWN]} replaced by", item, now, scope)
        return Edit(item.hash.span, now)

    def _say(self, did: str, item: Import, now: str, scope: Scope) -> None:
        place = item.place.span.place.rpartition(":")[0]
        self.said.append(f"{place}: {item.place.text}: {did} {now[:SHOWN]}")


def freeze(scope: Scope) -> Frozen:
    """What freezing a recipe would write."""
    frozen = Frozen()
    frozen.hash_of(scope)
    return frozen


def unfrozen(scope: Scope) -> Iterator[Diagnostic]:
    """TL110 and TL111 for every import of the recipe and of its local files, relative ones too."""
    seen: set[str] = set()
    for each in scope.all_scopes():
        name = each.file.source.name
        if name in seen or is_remote(each):
            continue
        seen.add(name)
        for item, inner in each.imports.values():
            yield from verify(item, inner.file, remote=True)


def is_remote(scope: Scope) -> bool:
    return scope.file.source.name.startswith("hub:")


def path_of(scope: Scope) -> Path:
    """Where the file of a scope lies."""
    return Path(normpath(scope.folder / Path(scope.file.source.name).name))
