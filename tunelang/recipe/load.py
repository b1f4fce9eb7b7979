"""Reading recipe files and what they import; the only place of this floor that touches disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, error
from tunelang.recipe import hub
from tunelang.recipe.literals import unquote
from tunelang.recipe.names import Scope, duplicate_names
from tunelang.source import Source, Span
from tunelang.syntax.digest import digest
from tunelang.syntax.parse import parse
from tunelang.syntax.tree import File, Import

Reader = Callable[[Source], tuple[File, list[Diagnostic]]]
LARGEST = 4 * 2**20  # bytes; a recipe of 200 lines has about 6,000


@dataclass(frozen=True)
class Loading:
    """A file on its way in: the chain of files that import it, and how the recipe names it."""

    path: Path
    shown: str
    alias: str = ""
    chain: tuple[Path, ...] = ()
    locked: Mapping[str, str] | None = None  # hashes by place; None trusts what is there


def unreadable(shown: str, why: str, help: str = "") -> Diagnostic:
    return error("TL012", "unreadable-file", f"`{shown}` {why}", None, help=help)


def read_source(path: Path, shown: str) -> tuple[Source | None, list[Diagnostic]]:
    """The text of a recipe file, or one diagnostic that says why it cannot be read."""
    if path.is_dir():
        return None, [unreadable(shown, "is a folder, not a recipe", "name a .tune file in it")]
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None, [unreadable(shown, "does not exist", _candidates(path))]
    except OSError as problem:
        return None, [unreadable(shown, f"cannot be read: {problem.strerror}")]
    return decode(data, shown)


def decode(data: bytes, shown: str) -> tuple[Source | None, list[Diagnostic]]:
    if len(data) > LARGEST:
        return None, [
            unreadable(shown, f"has {len(data):,} bytes; a recipe has at most {LARGEST:,}")
        ]
    try:
        return Source(shown, data.decode("utf-8")), []
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        return None, [
            unreadable(
                shown,
                f"is not UTF-8: line {line} holds the byte {data[problem.start]:#04x}",
                "save it as UTF-8",
            )
        ]


def _candidates(path: Path) -> str:
    folder = path.parent
    found = sorted(p.name for p in folder.glob("*.tune")) if folder.is_dir() else []
    return f"recipes there: {', '.join(found[:5])}" if found else ""


def load(
    path: Path, shown: str | None = None, *, trust: bool = False
) -> tuple[Scope | None, list[Diagnostic]]:
    """The scope of a recipe file with all its imports, and what is wrong with their text.

    With `trust` a remote import needs no hash: its hash is about to be written down.
    """
    locked = None if trust else _locked(path)
    return _load(Loading(path, shown or str(path), locked=locked))


def _locked(path: Path) -> Mapping[str, str]:
    """The hashes of imports in the recipe's lock; one that cannot be read holds none."""
    beside = path.parent / f"{path.stem}.lock"
    if not beside.is_file():
        return {}
    from tunelang.recipe import lock

    try:
        found = lock.read(beside)
    except lock.Unreadable:
        return {}
    return found.imports if found else {}


def load_source(
    source: Source, folder: Path, read: Reader = parse
) -> tuple[Scope, list[Diagnostic]]:
    """As `load`, for text that is already here (an editor's buffer, a test)."""
    path = folder / Path(source.name).name
    loading = Loading(path, source.name, locked=_locked(path))
    return _linked(*read(source), loading)


def _load(loading: Loading) -> tuple[Scope | None, list[Diagnostic]]:
    source, found = read_source(loading.path, loading.shown)
    if source is None:
        return None, found
    return _linked(*parse(source), loading)


def _linked(
    file: File, found: list[Diagnostic], loading: Loading
) -> tuple[Scope, list[Diagnostic]]:
    """The scope of a file with everything it imports."""
    imports: dict[str, tuple[Import, Scope]] = {}
    for item in file.items:
        if isinstance(item, Import):
            scope, problems = _follow(item, loading)
            found += problems
            if scope:
                imports.setdefault(item.alias.text, (item, scope))
    scope = Scope(file, loading.path.parent, loading.alias, imports)
    return scope, found + duplicate_names(scope)


def _follow(item: Import, loading: Loading) -> tuple[Scope | None, list[Diagnostic]]:
    place = unquote(item.place.text)
    remote = place.startswith("hub:")
    path, problem = _hub(place, item) if remote else _local(place, item, loading)
    if path is None:
        return None, [problem] if problem else []
    chain = (*loading.chain, loading.path.resolve())
    if path.resolve() in chain:
        names = " → ".join(p.name for p in (*chain[chain.index(path.resolve()) :], path))
        return None, [
            error(
                "TL112",
                "import-cycle",
                f"these files import each other: {names}",
                item.place.span,
                "closes the circle",
                help="move what both need into a third file",
            )
        ]
    alias = f"{loading.alias}.{item.alias.text}" if loading.alias else item.alias.text
    shown = place if remote else os.path.normpath(Path(loading.shown).parent / place)
    scope, found = _load(Loading(path, shown, alias, chain, loading.locked))
    if scope is None:
        return None, [
            replace(problem, at=Label(item.place.span, "imported here")) for problem in found
        ]
    if remote and item.hash is None and loading.locked is None:
        return scope, found
    agreed = (loading.locked or {}).get(place) if remote else None
    return scope, found + verify(item, scope.file, remote=remote, agreed=agreed)


def _local(place: str, item: Import, loading: Loading) -> tuple[Path | None, Diagnostic | None]:
    """Where a relative import lies; reading a shared recipe must not read files beside the project.

    Links are followed first, so that none leads out.
    """
    path = loading.path.parent / place
    root = project_of((loading.chain or (loading.path.resolve(),))[0])
    if path.resolve().is_relative_to(root):
        return path, None
    outside = ("TL012", "unreadable-file", f"`{place}` lies outside the project {root.name}")
    help = "copy the file into the project, or import it from the hub"
    return None, error(*outside, item.place.span, "outside", help=help)


def project_of(path: Path) -> Path:
    """The folder a recipe's imports may come from.

    Its repository, else the working folder if the recipe is below it, else the recipe's own folder.
    """
    repository = next((each for each in path.parents if (each / ".git").exists()), None)
    here = Path.cwd()
    return repository or (here if path.is_relative_to(here) else path.parent)


def _hub(place: str, item: Import) -> tuple[Path | None, Diagnostic | None]:
    """Where a hub import lies on this machine, or why it cannot be read."""
    parts = hub.parse(place)
    if parts is None:
        help = 'write `import "hub:owner/name@1.0.0" as NAME`'
        wrong = ("TL012", "unreadable-file", f"`{place}` does not name a version of a repository")
        return None, error(*wrong, item.place.span, "not a place on the hub", help=help)
    path = hub.cached(parts)
    if path is None:
        missing = ("TL012", "unreadable-file", f"`{place}` is not on this machine")
        help = "`tunelang fetch RECIPE` downloads what a recipe imports; `check` never does"
        return None, error(*missing, item.place.span, "not downloaded", help=help)
    return path, None


def verify(
    item: Import, file: File, *, remote: bool, agreed: str | None = None
) -> list[Diagnostic]:
    """TL110: a remote import without a hash. TL111: not the text the hash was taken from.

    `agreed` is the hash that the recipe's lock holds.
    """
    now = f"sha256:{digest(file)}"
    if item.hash is None and remote and agreed is None:
        end = Span(item.span.source, item.span.end, item.span.end)
        return [
            error(
                "TL110",
                "unhashed-import",
                f"what {item.place.text} holds can change under this recipe",
                item.place.span,
                "no hash",
                help=f"after reading it, write {now} behind the import",
                fix=Fix(f"add {now[:15]}...", (Edit(end, f" {now}"),), safe=True),
            )
        ]
    expected = item.hash.text if item.hash else agreed
    if expected is None or expected == now:
        return []
    return [
        error(
            "TL111",
            "hash-mismatch",
            f"`{file.source.name}` is not the text this hash was taken from",
            item.hash.span if item.hash else item.place.span,
            "expects another text" if item.hash else "locked with another text",
            help=f"after reading what changed, write {now} or run `tunelang lock`",
        )
    ]
