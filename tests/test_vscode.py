"""The extension for VS Code: `make vsix` packs what it must, and the bundle loads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
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
# `vscode` exists inside the editor only: here anything that is asked of it is an empty class.
LOADED = """
const Module = require("node:module");
const anything = new Proxy(class {}, { get: (it, key) => it[key] ?? (it[key] = class {}) });
const load = Module._load;
const registered = [];
anything.workspace = {
  isTrusted: false,
  onDidChangeConfiguration: () => ({}),
  onDidGrantWorkspaceTrust: () => ({}),
};
anything.commands = { registerCommand: (name) => registered.push(name) };
Module._load = (name, ...rest) => name === "vscode" ? anything : load(name, ...rest);
const { activate, deactivate } = require(process.argv[1]);
activate({ subscriptions: [] }).then(deactivate).then(() => console.log(registered.join()));
"""


def current() -> bool:
    """Whether there is a .vsix that was packed after the last change of what goes into it."""
    packed = ("*.json", "*.mjs", "*.md", "src/*", "syntaxes/*")
    changed = max(path.stat().st_mtime for each in packed for path in VSCODE.glob(each))
    return VSIX.exists() and VSIX.stat().st_mtime >= changed


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


@needs_vsix
@pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
def test_the_bundle_loads(tmp_path: Path) -> None:
    """It needs nothing beside itself, and starts nothing in a workspace that is not trusted."""
    with ZipFile(VSIX) as archive:
        archive.extractall(tmp_path)
    bundle = tmp_path / "extension" / "dist" / "extension.js"
    command = ["node", "-e", LOADED, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "tunelang.restart\n"), done.stderr
