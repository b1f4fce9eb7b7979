"""Talking to a worker over JSON lines."""

import pytest

from tunelang.errors import UserError
from tunelang.run.speak import speaking

ECHO = """
import json, sys
print("a library says hello")
print(json.dumps({"ready": True, "template": False}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["prompt"] == "die":
        sys.exit("the model melted")
    if asked["prompt"] == "fail":
        told = {"failed": "no template", "code": "TL401", "help": "none"}
        print(json.dumps(told), flush=True)
        continue
    for token in asked["prompt"].split():
        print(json.dumps({"token": token + " "}), flush=True)
    print(json.dumps({"done": True, "text": asked["prompt"]}), flush=True)
"""


@pytest.fixture
def speaker(store, make, tmp_path, monkeypatch):
    (tmp_path / "echo_worker.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with speaking(store, make("sft"), module="echo_worker") as opened:
        yield opened


def test_replies_come_in_pieces(speaker):
    """Pieces as they come, request after request; what libraries print is passed over."""
    assert list(speaker.ask({"prompt": "good day"})) == ["good ", "day "]
    assert list(speaker.ask({"prompt": "again"})) == ["again "]
    assert speaker.template is False


def test_crash_is_a_diagnostic(speaker):
    """A worker that ends is told with its last lines."""
    with pytest.raises(UserError) as raised:
        list(speaker.ask({"prompt": "die"}))
    assert "the model melted" in raised.value.diagnostic.message
    with pytest.raises(UserError):
        list(speaker.ask({"prompt": "more"}))


def test_failed_is_its_diagnostic(speaker):
    """A user's mistake keeps its code."""
    with pytest.raises(UserError) as raised:
        list(speaker.ask({"prompt": "fail"}))
    assert raised.value.diagnostic.code == "TL401"


def test_worker_ends_with_the_block(store, make, tmp_path, monkeypatch):
    """Leaving the block ends the process."""
    (tmp_path / "echo_worker.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with speaking(store, make("sft"), module="echo_worker") as opened:
        process = opened.process
    assert process.poll() is not None
