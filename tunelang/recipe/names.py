"""Names: scopes of files, looking them up, and what a misspelt one probably means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path as FilePath

from tunelang.diagnostic import Diagnostic, Label, error
from tunelang.source import Span
from tunelang.syntax.tree import Assignment, Broken, Declaration, File, Import

UNNAMED = ("defaults", "every", "profile")  # declarations whose name is no value


@dataclass(frozen=True)
class Scope:
    """One file's names. `alias` is how the recipe itself reaches them, empty for its own."""

    file: File
    folder: FilePath
    alias: str = ""
    imports: Mapping[str, tuple[Import, Scope]] = field(default_factory=dict)

    @cached_property
    def names(self) -> dict[str, Declaration]:
        """Declarations by name; the first of two wins, the second is reported elsewhere."""
        found: dict[str, Declaration] = {}
        for declaration in self.file.declarations():
            if declaration.kind.text not in UNNAMED:
                found.setdefault(declaration.name.text, declaration)
        return found

    @cached_property
    def broken(self) -> set[str]:
        """Names whose declaration or import could not be read, which has been said."""
        items = self.file.items
        words = [item.tokens[:5] for item in items if isinstance(item, Broken)]
        names = {token.text for tokens in words for token in tokens if token.kind == "NAME"}
        bare = {item.path.text for item in items if isinstance(item, Assignment)}
        aliases = {item.alias.text for item in items if isinstance(item, Import)}
        return names | bare | (aliases - set(self.imports))

    def is_broken(self, path: str) -> bool:
        """Whether a name is unknown only because another mistake hides it."""
        first, _, rest = path.partition(".")
        if first in self.imports and rest:
            return self.imports[first][1].is_broken(rest)
        return first not in self.names and first in self.broken

    @cached_property
    def defaults(self) -> dict[str, list[Declaration]]:
        """`defaults KIND` by the kind: every declaration of a kind asks for them."""
        found: dict[str, list[Declaration]] = {}
        for declaration in self.file.declarations():
            if declaration.kind.text == "defaults":
                found.setdefault(declaration.name.text, []).append(declaration)
        return found

    def full(self, name: str) -> str:
        return f"{self.alias}.{name}" if self.alias else name

    def look_up(self, path: str) -> tuple[Declaration, Scope, str] | None:
        """The declaration, its scope, and what is left of the path after its name."""
        first, _, rest = path.partition(".")
        if first in self.names:
            return self.names[first], self, rest
        if first in self.imports and rest:
            return self.imports[first][1].look_up(rest)
        return None

    def visible(self) -> Iterator[tuple[str, Declaration]]:
        """Every name that can be written in this file."""
        yield from self.names.items()
        for alias, (_, scope) in self.imports.items():
            for name, declaration in scope.names.items():
                yield f"{alias}.{name}", declaration

    def all_scopes(self) -> Iterator[Scope]:
        yield self
        for _, scope in self.imports.values():
            yield from scope.all_scopes()


@lru_cache(1 << 14)  # an editor asks for the same words at every key
def distance(left: str, right: str) -> int:
    """Edits (insert, delete, replace, swap neighbours) from one word to the other."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate a person most likely meant, None where none is close."""
    lower = word.lower()
    scored = []
    for candidate in candidates:
        other = candidate.lower()
        far = distance(lower, other)
        extended = len(lower) > 2 and (
            other.startswith(lower) or (lower.startswith(other) and len(other) > 2)
        )
        if far <= max(1, min(len(lower), len(other)) // 3) or extended:
            scored.append((far, candidate))
    return min(scored)[1] if scored else None


def did_you_mean(guess: str | None) -> str:
    return f"did you mean `{guess}`?" if guess else ""


def duplicate_names(scope: Scope) -> list[Diagnostic]:
    """TL105: two declarations, or a declaration and an import, share a name."""
    first: dict[str, Span] = {}
    found = []
    for span in _named(scope.file):
        name = span.text
        if name not in first:
            first[name] = span
            continue
        found.append(
            error(
                "TL105",
                "duplicate-name",
                f"`{name}` is declared twice",
                span,
                "again here",
                others=(Label(first[name], "first here"),),
                help="rename one of the two",
            )
        )
    return found


def _named(file: File) -> Iterator[Span]:
    for item in file.items:
        if isinstance(item, Import):
            yield item.alias.span
        elif isinstance(item, Declaration) and item.kind.text not in UNNAMED:
            yield item.name.span
