"""The content-addressed store: keys in, folders out. A key that is in `objects/` is complete.

Products are made aside in `work/KEY/product/`, hashed, fsynced and renamed into place, so that a
kill, a power cut or a full disk never leaves half an object. It knows no methods and no torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tunelang.diagnostic import Diagnostic, error
from tunelang.errors import TuneError, UserError
from tunelang.run.lock import hold

MANIFEST = "manifest.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota used up, file limit reached
BLOCK = 1 << 20
BAD = "bad-"  # begins the name of a damaged object that was set aside
ASIDE = ".aside"  # ends the name of a file that is still being written


class StoreError(UserError):
    """The store cannot do what the run needs: a full disk, a key that is not there."""


class Store:
    """The folders under one home; see the module's docstring for what they promise."""

    def __init__(self, home: Path) -> None:
        self.home = Path(home)

    def object(self, key: str) -> Path:
        """Where the finished product of `key` is, or will be."""
        return self.home / "objects" / key

    def work(self, key: str) -> Path:
        """Where the step of `key` works while under way; the folder may not exist yet."""
        return self.home / "work" / key

    def run_folder(self, name: str) -> Path:
        """Where the journal of the runs of one recipe (and profile) is kept."""
        return self.home / "runs" / name

    def has(self, key: str) -> bool:
        return (self.object(key) / MANIFEST).is_file()

    def keys(self) -> list[str]:
        """Every finished key, in order; damaged objects set aside have none."""
        found = (path.parent.name for path in self.home.glob(f"objects/*/{MANIFEST}"))
        return sorted(name for name in found if not name.startswith(BAD))

    def manifest(self, key: str) -> dict[str, Any]:
        return self._json(key, MANIFEST)

    def product(self, key: str) -> dict[str, Any]:
        """What the object is: its product.json (kind, base, deltas, head, tokenizer)."""
        return self._json(key, "product.json")

    def publish(self, key: str, folder: Path, extra: Mapping[str, Any]) -> Path:
        """Hash `folder`, give it a manifest and move it into `objects/`, all or nothing.

        Raises `StoreError` (TL711) when the disk is full. If the key is there already, the one
        that is there stays and `folder` is removed.
        """
        target = self.object(key)
        with room(self.home, f"`{key[:12]}` cannot be stored"):
            for leftover in folder.rglob(f".*{ASIDE}"):  # a kill while writing left it
                leftover.unlink()
            manifest = {"key": key, **extra, "files": _listing(folder), "created": time.time()}
            write_atomic(folder / MANIFEST, _encoded(manifest))
            sync_tree(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not self.has(key):
                folder.rename(target)
                sync_folder(target.parent)
        if folder.exists():
            shutil.rmtree(folder)
        return target

    def verify(self, key: str, *, content: bool = True) -> list[str]:
        """What is wrong with an object, one line a file; empty when it is whole.

        Without `content` only presence and sizes are compared, which reads no weights.
        """
        try:
            files = self.manifest(key)["files"]
        except (OSError, ValueError, KeyError, StoreError):
            return [f"{MANIFEST} is missing or unreadable"]
        found = (_problem(self.object(key) / name, files[name], content) for name in sorted(files))
        return [problem for problem in found if problem]

    def quarantine(self, key: str) -> Path:
        """Set a damaged object aside as `objects/bad-KEY-TIME`, out of the way of its key."""
        aside = self.object(f"{BAD}{key}-{time.time_ns()}")
        self.object(key).rename(aside)
        sync_folder(aside.parent)
        return aside

    def lock(self, key: str) -> Any:
        """Hold the step of `key` against other runs; see `tunelang.run.lock.hold`."""
        return hold(self.home / "locks" / key)

    def _json(self, key: str, name: str) -> dict[str, Any]:
        path = self.object(key) / name
        try:
            loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as missing:
            raise StoreError(absent(key, path)) from missing
        return loaded


def default_home() -> Path:
    """`$TUNELANG_HOME`, else the user's data folder."""
    chosen = os.environ.get("TUNELANG_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("tunelang")


def write_atomic(path: Path, content: bytes) -> None:
    """Replace the file in one go: it has its old or its new content, also after a power cut."""
    aside = path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of a value as indented JSON with sorted keys."""
    write_atomic(path, _encoded(value))


def sha256_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is not, until its folder is synced."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """fsync every file, then every folder from the innermost outwards."""
    folders = [folder]
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            folders.append(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for inner in reversed(folders):
        sync_folder(inner)


@contextmanager
def room(folder: Path, consequence: str) -> Iterator[None]:
    """Turn a full disk met inside into `StoreError` TL711; other errors pass."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in NO_ROOM:
            raise
        raise StoreError(disk_full(folder, consequence)) from problem


def disk_full(folder: Path, consequence: str) -> Diagnostic:
    """TL711: no room left under `folder`."""
    return error(
        "TL711",
        "disk-too-small",
        f"{consequence}: no room is left on the disk of {folder}",
        None,
        help="free some room (`tunelang store gc RECIPES` keeps what these need) "
        "or set TUNELANG_HOME to a larger disk; the same command goes on where it stopped",
    )


def absent(key: str, path: Path) -> Diagnostic:
    """TL720: a key was asked for that is not in the store."""
    return error(
        "TL720",
        "not-in-store",
        f"`{key[:12]}` is not in the store: {path} does not exist",
        None,
        help="`tunelang run RECIPE` makes it",
    )


def _encoded(value: Any) -> bytes:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def _listing(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative path -> size and SHA-256 of every file, the manifest itself left out."""
    listing = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            msg = f"a product holds files, not links: {path}"
            raise TuneError(msg)
        if path.is_file() and path != folder / MANIFEST:
            name = path.relative_to(folder).as_posix()
            listing[name] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
    return listing


def _problem(path: Path, promised: Mapping[str, Any], content: bool) -> str:
    name = path.name
    if not path.is_file():
        return f"{name} is missing"
    size = path.stat().st_size
    if size != promised["size"]:
        return f"{name} has {size} bytes, {promised['size']} were written"
    if content and sha256_file(path) != promised["sha256"]:
        return f"{name} does not have the content that was written"
    return ""
