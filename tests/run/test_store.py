"""The store: whole objects or none, atomic files, damage found, one holder of a lock."""

import errno
import os
import subprocess
import sys

import pytest

from tunelang.run.lock import Busy
from tunelang.run.store import StoreError, default_home, room, sha256_file, write_atomic, write_json

KEY = "ab" * 32


@pytest.fixture
def product(store):
    folder = store.work(KEY) / "product"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights.bin").write_bytes(b"1234")
    write_json(folder / "product.json", {"kind": "lm", "deltas": []})
    return folder


def test_publish_moves_and_lists(store, product):
    """Publishing moves the folder and lists every file with its size and SHA-256."""
    path = store.publish(KEY, product, {"method": "sft"})
    assert path == store.object(KEY)
    assert not product.exists()
    manifest = store.manifest(KEY)
    assert manifest["key"] == KEY
    assert manifest["method"] == "sft"
    weights = manifest["files"]["model/weights.bin"]
    assert weights == {"size": 4, "sha256": sha256_file(path / "model" / "weights.bin")}
    assert store.product(KEY) == {"kind": "lm", "deltas": []}


def test_publish_twice_keeps_the_first(store, product):
    """A key that is there stays as it is, and the second folder is removed."""
    store.publish(KEY, product, {})
    (product / "model").mkdir(parents=True)
    (product / "model" / "weights.bin").write_bytes(b"other")
    store.publish(KEY, product, {})
    assert (store.object(KEY) / "model" / "weights.bin").read_bytes() == b"1234"
    assert not product.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_full_disk_leaves_nothing_half(store, product, monkeypatch, number, call):
    """A full disk or quota at any point is TL711, and the key stays absent."""

    def full(*_given):
        raise OSError(number, os.strerror(number))

    target = "os.fsync" if call == "fsync" else "pathlib.Path.rename"
    with monkeypatch.context() as patched, pytest.raises(StoreError) as raised:
        patched.setattr(target, full)
        store.publish(KEY, product, {})
    assert raised.value.diagnostic.code == "TL711"
    assert str(store.home) in raised.value.diagnostic.message
    assert not store.has(KEY)
    store.publish(KEY, product, {})
    assert store.verify(KEY) == []


def test_other_errors_are_not_called_a_full_disk(tmp_path):
    """Only a lack of room becomes TL711."""
    with pytest.raises(PermissionError), room(tmp_path, "x"):
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.unlink(), "weights.bin is missing"),
        (lambda path: path.write_bytes(b"12"), "weights.bin has 2 bytes, 4 were written"),
        (
            lambda path: path.write_bytes(b"1235"),
            "weights.bin does not have the content that was written",
        ),
    ],
)
def test_verify_names_the_damage(store, product, damage, problem):
    """Missing, shortened and changed files are told apart."""
    store.publish(KEY, product, {})
    damage(store.object(KEY) / "model" / "weights.bin")
    assert store.verify(KEY) == [problem]


def test_unreadable_manifest_is_damage(store, product):
    """A manifest that is no JSON is a problem of the object, not an exception."""
    store.publish(KEY, product, {})
    (store.object(KEY) / "manifest.json").write_text("{")
    assert store.verify(KEY) == ["manifest.json is missing or unreadable"]


def test_quarantine_frees_the_key(store, product):
    """A damaged object is kept under another name, and does not count as a key."""
    store.publish(KEY, product, {})
    aside = store.quarantine(KEY)
    assert not store.has(KEY)
    assert (aside / "model" / "weights.bin").exists()
    assert store.keys() == []


def test_absent_key_is_a_diagnostic(store):
    """Asking for what is not there is TL720, not a FileNotFoundError."""
    with pytest.raises(StoreError) as raised:
        store.product(KEY)
    assert raised.value.diagnostic.code == "TL720"


def test_write_atomic_keeps_the_old_content(tmp_path, monkeypatch):
    """A write that fails leaves the old file and nothing beside it."""
    path = tmp_path / "x"
    write_atomic(path, b"old")

    def full(*_given):
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr("os.fsync", full)
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["x"]


def test_lock_has_one_holder(store):
    """A second holder is refused with the first one's name, and let in afterwards."""
    told = pytest.raises(Busy, match=f"process {os.getpid()} on ")
    with store.lock(KEY), told, store.lock(KEY):
        pass
    with store.lock(KEY):
        pass


def test_lock_lasts_as_long_as_the_worker(store):
    """A process that inherits the lock's handle holds it after the parent let go."""
    with store.lock(KEY) as held:
        sleep = [sys.executable, "-c", "input()"]
        child = subprocess.Popen(sleep, stdin=subprocess.PIPE, pass_fds=(held.handle,))
    with pytest.raises(Busy), store.lock(KEY):
        pass
    child.communicate(b"\n")
    with store.lock(KEY):
        pass


def test_home_is_chosen_by_the_environment(monkeypatch, tmp_path):
    """TUNELANG_HOME wins; without it the user's data folder is taken."""
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path))
    assert default_home() == tmp_path
    monkeypatch.delenv("TUNELANG_HOME")
    assert default_home().name == "tunelang"
