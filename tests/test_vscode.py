"""The extension for VS Code: `make vsix` packs what it must, and it starts the language server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

VSCODE = Path(__file__).parents[1] / "grammar" / "vscode"
VSIX = VSCODE / "tunelang.vsix"
HOLDS = {
    "extension/package.json",
    "extension/readme.md",
    "extension/LICENSE.txt",
    "extension/language-configuration.json",
    "extension/syntaxes/tune.tmLanguage.json",
    "extension/dist/extension.js",
    "extension/dist/NOTICES.txt",
}
MANIFEST = {"extension.vsixmanifest", "[Content_Types].xml"}


def current() -> bool:
    """Whether there is a .vsix that was packed after the last change of what goes into it."""
    packed = ("*.json", "*.mjs", "*.md", "src/*", "syntaxes/*")
    changed = max(path.stat().st_mtime for each in packed for path in VSCODE.glob(each))
    return VSIX.exists() and VSIX.stat().st_mtime >= changed


needs_node = pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
needs_vsix = pytest.mark.skipif(not current(), reason="`make vsix` builds it")


def manifest() -> dict[str, object]:
    found: dict[str, object] = json.loads((VSCODE / "package.json").read_text("utf-8"))
    return found


def test_the_lock_file_names_no_registry() -> None:
    """It says what is installed and its hashes, and leaves open where that comes from."""
    packages = json.loads((VSCODE / "package-lock.json").read_text("utf-8"))["packages"]
    assert packages.pop("")["devDependencies"] == manifest()["devDependencies"]
    assert all(each["integrity"] and "resolved" not in each for each in packages.values())


@needs_vsix
def test_the_vsix_holds_what_it_must() -> None:
    """The files that an editor needs, whole, and nothing else: no sources, no modules."""
    with ZipFile(VSIX) as archive:
        assert set(archive.namelist()) == HOLDS | MANIFEST
        for name in ("syntaxes/tune.tmLanguage.json", "language-configuration.json"):
            assert archive.read(f"extension/{name}") == (VSCODE / name).read_bytes()
        packed = json.loads(archive.read("extension/package.json"))
        notices = archive.read("extension/dist/NOTICES.txt").decode()
    assert packed["contributes"] == manifest()["contributes"]
    assert re.search(r"^vscode-languageclient \S+ \(MIT\)$", notices, re.MULTILINE)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension as an editor unpacks it: nothing lies beside it."""
    folder = tmp_path_factory.mktemp("extension")
    with ZipFile(VSIX) as archive:
        archive.extractall(folder)
    return folder / "extension" / "dist" / "extension.js"


def activated(bundle: Path, command: Path, trust: str) -> str:
    """What an editor shows when the extension starts with this `tunelang.path`."""
    stub = Path(__file__).with_name("vscode.js")
    words = ["node", str(stub), str(bundle), str(command), trust]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("activated\n"), done.stderr
    return done.stdout.removesuffix("activated\n")


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A command `tunelang` that leaves a note when it is called."""
    script = tmp_path / "tunelang"
    script.write_text(
        f'#!/bin/sh\necho "$*" > "$0.called"\nexec "{sys.executable}" -m tunelang "$@"\n'
    )
    script.chmod(0o755)
    return script


@needs_vsix
@needs_node
def test_the_extension_starts_the_language_server(bundle: Path, server: Path) -> None:
    """The client and `tunelang lsp` agree on what they can do, and nothing is complained of."""
    pytest.importorskip("pygls")
    assert activated(bundle, server, "trusted") == ""
    assert server.with_name("tunelang.called").read_text() == "lsp\n"


@needs_vsix
@needs_node
def test_nothing_is_started_in_a_workspace_that_is_not_trusted(bundle: Path, server: Path) -> None:
    """A stranger's folder may set the path."""
    assert activated(bundle, server, "not trusted") == ""
    assert not server.with_name("tunelang.called").exists()


@needs_vsix
@needs_node
def test_a_command_that_is_not_there_is_said(bundle: Path, tmp_path: Path) -> None:
    """With what to do about it."""
    missing = tmp_path / "nowhere"
    assert f"`{missing} lsp` does not start" in activated(bundle, missing, "trusted")
