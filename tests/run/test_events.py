"""The event file: what is appended is read once, in order, whatever was cut by a kill."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunelang.run.events import Tail, append, wrong

PHASE = {"event": "phase", "text": "loading", "time": 1.0}


def test_read_gives_each_event_once(tmp_path):
    """Each read gives what was completed since the last one."""
    tail = Tail(tmp_path / "events.jsonl")
    assert tail.read() == []
    append(tail.path, PHASE)
    assert tail.read() == [PHASE]
    assert tail.read() == []


def test_unfinished_line_waits(tmp_path):
    """A last line without its line end is read when it has one."""
    tail = Tail(tmp_path / "events.jsonl")
    with tail.path.open("w") as file:
        file.write('{"event": "phase", ')
        file.flush()
        assert tail.read() == []
        file.write('"text": "loading", "time": 1.0}\n')
        file.flush()
    assert tail.read() == [PHASE]
    assert tail.broken == 0


def test_append_after_a_cut_line(tmp_path):
    """The writer starts a fresh line after a cut one; the reader counts it and goes on."""
    tail = Tail(tmp_path / "events.jsonl")
    tail.path.write_text('{"event": "pha')
    append(tail.path, PHASE)
    assert tail.read() == [PHASE]
    assert tail.broken == 1


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ({"event": "progres"}, "no event is called 'progres'"),
        ({"text": "x"}, "no event is called None"),
        ({"event": "progress", "at": 1}, "event `progress` lacks metrics, of"),
    ],
)
def test_wrong_events_are_refused(tmp_path, event, fault):
    """An event of unknown name or with a field missing is our mistake, said when it is written."""
    assert wrong(event).startswith(fault)
    with pytest.raises(ValueError, match="event"):
        append(tmp_path / "events.jsonl", event)


@given(st.lists(st.text(max_size=20), max_size=8), st.data())
def test_any_cut_loses_at_most_one_event(texts, data):
    """Cut the file anywhere and go on writing: all but the cut event are read, in order."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.touch()
        for text in texts:
            append(path, {"event": "phase", "text": text, "time": 0.0})
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])
        append(path, {"event": "phase", "text": "resumed", "time": 0.0})
        kept = content[:cut].count(b"\n")
        found = [event["text"] for event in Tail(path).read()]
        whole = cut < len(content) and content[cut : cut + 1] == b"\n"
        assert found == [*texts[: kept + whole], "resumed"]
