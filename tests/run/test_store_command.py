"""The commands that look after the store and the machine."""

import pytest
import typer
from typer.testing import CliRunner

from tunelang.cli import doctor, store
from tunelang.launch.libraries import Library


@pytest.fixture
def command(monkeypatch, execute, chain):
    """Run a `tunelang store` command on a home in which a chain of three has run."""

    def run(*words):
        found = CliRunner().invoke(store.store, words)
        return found.exit_code, found.output

    execute(chain)
    return run


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")


def test_ls_lists_every_object(command, chain):
    """A row an object: the beginning of its key, stage, method, product and size."""
    code, told = command("ls")
    assert code == 0
    for step in chain.steps:
        (row,) = [line for line in told.splitlines() if line.startswith(step.key[:12])]
        assert row.split()[1:4] == [step.name, "sft", "lm"]


def test_size_counts_objects(command):
    """Three products of a few KiB each, no work, one journal."""
    _, told = command("size")
    sizes = {line.split()[0]: line.split()[1:3] for line in told.splitlines()}
    assert sizes["objects"][1] == "KiB"
    assert sizes["work"] == ["0", "B"]
    assert sizes["runs"][1] == "KiB"


def test_verify_finds_a_flipped_bit(command, chain, store):
    """Exit code 0 while all is whole, 1 with the file's name when it is not."""
    assert command("verify") == (0, "3 verified, 0 damaged\n")
    (store.object(chain.steps[1].key) / "model" / "weights.bin").write_bytes(bytes(2048))
    code, told = command("verify")
    assert code == 1
    assert "weights.bin does not have the content that was written" in told
    assert command("verify", chain.steps[0].key[:16])[0] == 0


def test_gc_removes_leftovers_only_when_told(command, chain, store):
    """Without --yes nothing goes; with it damaged objects and finished work go, objects stay."""
    aside = store.quarantine(chain.steps[2].key)
    left = store.work(chain.steps[0].key)
    left.mkdir(parents=True)
    under_way = store.work(chain.steps[2].key)
    under_way.mkdir(parents=True)
    code, told = command("gc")
    assert (code, aside.exists(), left.exists()) == (0, True, True)
    assert told.count("would remove") == 2
    command("gc", "--yes")
    assert (aside.exists(), left.exists(), under_way.exists()) == (False, False, True)
    assert len(store.keys()) == 2


def test_gc_keeps_what_a_recipe_needs(command, chain, store, monkeypatch):
    """With recipes everything goes that neither they nor what their objects rest on name."""
    from tunelang.cli import store as page

    kept = {chain.steps[0].key}
    monkeypatch.setattr(page, "needed", lambda *_: kept)
    busy = store.work("ff" * 32)
    busy.mkdir(parents=True)
    with store.lock("ff" * 32):
        command("gc", "any.tune", "--yes")
    assert store.keys() == sorted(kept)
    assert busy.exists()
    command("gc", "any.tune", "--yes")
    assert not busy.exists()


def test_gc_with_nothing_to_do(command):
    """An orderly store stays as it is."""
    assert command("gc", "--yes") == (0, "0 folders\n")


def test_doctor_says_what_is_missing(monkeypatch):
    """A missing training library is exit code 1 with the command that mends it."""
    gone = (Library("torch", ">=2.8,<3", None),)
    found = {"train": gone}
    monkeypatch.setattr("tunelang.launch.libraries.libraries", lambda extra: found.get(extra, ()))
    with pytest.raises(typer.Exit) as raised:
        doctor.doctor()
    assert raised.value.exit_code == 1
    found = {finding.name: finding for finding in doctor.examine()}
    assert found["torch"].state == "bad"
    assert found["torch"].mend.endswith("-m pip install 'torch>=2.8,<3'")


def test_doctor_finds_this_machine_fit(tmp_path):
    """Here, where the tests of training run, nothing is bad."""
    found = list(doctor.examine())
    assert [finding.name for finding in found if finding.state == "bad"] == []
    assert str(tmp_path / "home") in next(each.text for each in found if each.name == "home")


def test_doctor_notices_a_home_that_cannot_be_written(monkeypatch, tmp_path):
    """A home that cannot be written keeps a run from starting."""
    monkeypatch.setattr("os.access", lambda *_: False)
    (found,) = [each for each in doctor.examine() if each.name == "home"]
    assert found.state == "bad"
    assert "TUNELANG_HOME" in found.mend
