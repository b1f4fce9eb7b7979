"""Plans executed with a worker that behaves, fails, crashes, is killed or fills the disk."""

import json
import multiprocessing
import os
import sqlite3
from types import SimpleNamespace

import pytest

from tunelang.diagnostic import Severity
from tunelang.plan.ir import Estimate
from tunelang.run import execute as page
from tunelang.run import results
from tunelang.run.journal import Journal


def states(outcome):
    return [result.state for result in outcome.results]


def test_runs_then_reuses(execute, chain, store):
    """A chain runs once; the same command afterwards starts no worker."""
    outcome, _ = execute(chain)
    assert (outcome.exit_code, states(outcome)) == (0, ["run", "run", "run"])
    kept = store.keys()
    assert kept == sorted(step.key for step in chain.steps)
    assert {key: store.verify(key) for key in kept} == {key: [] for key in kept}
    assert not any(store.work(step.key).exists() for step in chain.steps)
    outcome, _ = execute(chain)
    assert states(outcome) == ["reused", "reused", "reused"]


def test_manifest_tells_where_it_came_from(execute, chain, store):
    """The manifest has method, stack, place, seconds and the hash of every file but itself."""
    execute(chain)
    manifest = store.manifest(chain.steps[0].key)
    assert manifest["method"] == "sft"
    assert manifest["stack"] == {"fake": "1"}
    assert manifest["place"]["device"] == "cpu"
    assert manifest["seconds"] == 12.3
    assert set(manifest["files"]) == {
        "metrics.json", "model/weights.bin", "product.json", "samples.json", "step.json"
    }  # fmt: skip


def test_failed_event_becomes_its_diagnostic(execute, make, plan, tmp_path):
    """A user's mistake met by the worker is shown with its code at its line, and stops the run."""
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": 1}\n  {"prompt": 2}\n')
    step = make("sft", fields={"do": "fail", "file": str(data)})
    outcome, _ = execute(plan(step, make("after", start=step)))
    (found,) = outcome.diagnostics
    assert (outcome.exit_code, states(outcome)) == (1, ["failed"])
    assert (found.code, found.name) == ("TL310", "cut-before-answer")
    assert found.at.span.place == f"{data}:2:3"
    assert found.at.span.text == '{"prompt": 2}'


def test_crash_shows_the_last_lines(execute, make, plan, store):
    """A crash is told by the end of the worker's log, without its warnings, and the log's path."""
    step = make("sft", fields={"do": "crash"})
    outcome, _ = execute(plan(step))
    (found,) = outcome.diagnostics
    assert found.name == "worker-crashed"
    assert "RuntimeError: the tensor is on fire" in found.message
    assert "UserWarning" not in found.message
    assert str(store.work(step.key) / "stdout.log") in found.help
    assert store.keys() == []


def test_sigkill_hints_at_memory(execute, make, plan):
    """A worker ended by SIGKILL most likely met the out-of-memory killer."""
    outcome, _ = execute(plan(make("sft", fields={"do": "kill"})))
    (found,) = outcome.diagnostics
    assert "SIGKILL" in found.message
    assert "ran out of memory" in found.help


def test_no_product_is_a_failure(execute, make, plan, store):
    """Exit code 0 without a product is not success."""
    outcome, _ = execute(plan(make("sft", fields={"do": "silent"})))
    assert outcome.exit_code == 1
    assert "without a product" in outcome.diagnostics[0].message
    assert store.keys() == []


def test_disk_full_in_worker(execute, make, plan):
    """A worker that ran out of disk is told as such, not as a crash."""
    outcome, _ = execute(plan(make("sft", fields={"do": "full"})))
    assert [found.code for found in outcome.diagnostics] == ["TL711"]


def test_disk_full_while_publishing(execute, make, plan, store, monkeypatch):
    """A full disk while publishing leaves no half object, and the next run only publishes."""
    one = plan(make("sft"))

    def full(*_given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tunelang.run.store.sync_tree", full)
        outcome, _ = execute(one)
    assert outcome.exit_code == 1
    assert [found.code for found in outcome.diagnostics] == ["TL711"]
    assert store.keys() == []
    outcome, told = execute(one)
    assert (outcome.exit_code, states(outcome)) == (0, ["run"])
    assert "starting" not in told


def test_disk_full_in_journal(execute, make, plan, monkeypatch):
    """A journal that cannot grow ends the run with TL711, and the worker with it."""
    opened = Journal._open

    def small(self):
        database = opened(self)
        database.execute("pragma max_page_count = 12")  # SQLITE_FULL comes from SQLite itself
        return database

    monkeypatch.setattr(Journal, "_open", small)
    outcome, _ = execute(plan(make("sft", fields={"steps": 500})))
    assert [found.code for found in outcome.diagnostics] == ["TL711"]
    assert "journal" in outcome.diagnostics[0].message


def test_crash_on_a_full_disk_is_told_as_such(execute, make, plan, monkeypatch):
    """A worker that could not even write its log is not called a crash."""
    full = SimpleNamespace(total=10**9, used=10**9, free=0)
    monkeypatch.setattr("tunelang.run.failure.shutil.disk_usage", lambda _: full)
    outcome, _ = execute(plan(make("sft", fields={"do": "silent"})))
    assert [found.code for found in outcome.diagnostics] == ["TL711"]


def test_half_written_event_then_resume(execute, make, plan, store):
    """A line cut by a kill is no obstacle; after the resume every step is in the journal once."""
    step = make("sft", fields={"do": "half"})
    execute(plan(step))
    outcome, told = execute(plan(make("sft", fields={})))
    assert outcome.exit_code == 0
    assert "goes on from step 5" in told
    rows = sqlite3.connect(outcome.journal).execute(
        "select at from metrics where key = ? and phase = 'train' and name = 'loss'", (step.key,)
    )
    assert sorted(at for (at,) in rows) == list(range(1, 21))


def test_journal_keeps_runs_and_steps(execute, chain, store):
    """One row a run with its outcome, one row a step with its state."""
    execute(chain)
    outcome, _ = execute(chain)
    database = sqlite3.connect(outcome.journal)
    assert outcome.journal == store.run_folder("chat") / "journal.sqlite"
    assert database.execute("select outcome from runs").fetchall() == [("done",), ("done",)]
    found = database.execute("select state, count(*) from steps group by state").fetchall()
    assert found == [("reused", 3), ("run", 3)]


def test_journal_holds_prediction_beside_measurement(execute, make, plan):
    """What was predicted for a step stands in the same row as what it took."""
    needs = dict.fromkeys(("parameters", "trainable", "allocated"), 0)
    needs |= dict.fromkeys(("peak_low", "peak_high", "usable"), 0)
    times = {"seconds_low": 1.0, "seconds": 10.0, "seconds_high": 20.0, "dollars": None}
    estimate = Estimate(
        **needs, **times, terms={}, peak=100_000_000, phase="update", basis="formula"
    )
    outcome, _ = execute(plan(make("sft", estimate=estimate)))
    row = sqlite3.connect(outcome.journal).execute(
        "select predicted_seconds, seconds, predicted_peak, peak_bytes from steps"
    )
    assert row.fetchall() == [(10.0, 12.3, 100_000_000, 123_000_000)]


def test_many_runs_write_one_journal(tmp_path, chain):
    """A journal opened, written and closed by three processes in the same instant loses nothing."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    given = (tmp_path, chain, together)
    writers = [context.Process(target=write_runs, args=given) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    for path in tmp_path.glob("*/journal.sqlite"):
        database = sqlite3.connect(path)
        assert database.execute("select outcome from runs").fetchall() == [("done",)] * 3
        assert database.execute("select count(*) from metrics").fetchone() == (3,)


def write_runs(folder, plan, together):
    for number in range(40):
        together.wait(30)
        journal = Journal(folder / str(number), plan, {})
        metrics = {"loss": 1.0}
        told = {"event": "progress", "time": 0.0, "at": number, "of": 20, "metrics": metrics}
        journal.tell(f"key of {os.getpid()}", [told])
        journal.close("done")


def test_unreadable_journal_is_set_aside(execute, chain, store):
    """Provenance that cannot be read does not stop a run, and is not thrown away."""
    store.run_folder("chat").mkdir(parents=True)
    (store.run_folder("chat") / "journal.sqlite").write_bytes(b"not a database" * 100)
    outcome, told = execute(chain)
    assert outcome.exit_code == 0
    assert "journal could not be read" in told
    assert len(list(store.run_folder("chat").glob("bad-*.sqlite"))) == 1


def test_enforced_gate_stops(execute, make, plan, gate, store):
    """A closed gate stops the run and keeps the stage; a rerun trains nothing and stops there."""
    step = make("sft", gates=[gate("loss", "<", 0.1)])
    both = plan(step, make("after", start=step))
    for state in ("run", "reused"):
        outcome, _ = execute(both)
        (found,) = outcome.diagnostics
        assert (outcome.exit_code, states(outcome)) == (1, [state])
        assert found.name == "gate-not-passed"
        assert "loss = 0.5" in found.message
        assert "< 0.1" in found.message
        assert "chat.tune:3" in found.message
    assert store.has(step.key)


def test_gate_that_only_reports(execute, make, plan, gate):
    """With enforce = false a closed gate is a warning and the run goes on."""
    step = make("sft", gates=[gate("loss", "<", 0.1, enforce=False), gate("loss", "<", 0.9)])
    outcome, _ = execute(plan(step, make("after", start=step)))
    assert (outcome.exit_code, states(outcome)) == (0, ["run", "run"])
    assert [found.severity for found in outcome.diagnostics] == [Severity.WARNING]
    assert [verdict.passed for verdict in outcome.results[0].verdicts] == [False, True]


def test_missing_metric_closes_the_gate(execute, make, plan, gate):
    """A gate on something that was not measured is not passed."""
    step = make("sft", gates=[gate("perplexity(replay.hold_out)", "<", 10)])
    outcome, _ = execute(plan(step))
    assert outcome.exit_code == 1
    assert outcome.diagnostics[0].name == "gate-unmeasured"


def test_shrunk_object_is_made_again(execute, chain, store):
    """A file of another size is noticed before reuse: a warning, and the step runs again."""
    execute(chain)
    (store.object(chain.steps[2].key) / "model" / "weights.bin").write_bytes(b"half")
    outcome, _ = execute(chain)
    assert (outcome.exit_code, states(outcome)) == (0, ["reused", "reused", "run"])
    assert [found.name for found in outcome.diagnostics] == ["damaged-object"]
    assert store.verify(chain.steps[2].key) == []


def test_flipped_bit_in_an_input_is_made_again(execute, chain, plan, store):
    """Content is compared before a step reads it, though the size is right."""
    execute(plan(*chain.steps[:2]))
    weights = store.object(chain.steps[1].key) / "model" / "weights.bin"
    before = store.manifest(chain.steps[1].key)["files"]
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    assert store.verify(chain.steps[1].key) == [
        "weights.bin does not have the content that was written"
    ]
    outcome, _ = execute(chain)
    assert states(outcome) == ["reused", "run", "run"]
    assert [found.name for found in outcome.diagnostics] == ["damaged-object"]
    assert store.manifest(chain.steps[1].key)["files"] == before


def test_worker_stays_offline(execute, make, plan, store, monkeypatch):
    """A step that names nothing on the hub runs offline, whatever is allowed."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    step = make("sft", fields={"do": "crash"})
    execute(plan(step))
    assert "hub offline: 1" in (store.work(step.key) / "stdout.log").read_text()


def test_refused_before_anything_starts(chain, store, monkeypatch, execute):
    """What cannot run is told before the first worker, and leaves no trace."""
    from tunelang.diagnostic import error

    refused = error("TL714", "backend-cannot", "no", None)
    monkeypatch.setattr(page, "refusals", lambda *_: [refused])
    outcome, _ = execute(chain)
    assert (outcome.exit_code, outcome.results) == (1, ())
    assert not store.home.exists()


def test_metrics_reach_the_result(execute, chain, store):
    """Before and after of a result are those of metrics.json, also when it is reused."""
    execute(chain)
    outcome, _ = execute(chain)
    assert dict(outcome.results[0].before) == {"loss": 1.0}
    assert dict(outcome.results[0].after) == {"loss": 0.5}
    assert outcome.results[0].peak_bytes == 123_000_000


def test_step_file_is_the_plan(execute, make, plan, store):
    """The worker gets the step exactly as planned, and the object keeps it."""
    step = make("sft")
    execute(plan(step))
    kept = json.loads((store.object(step.key) / "step.json").read_text())
    assert kept == step.model_dump(mode="json")


def test_time_of_all_attempts_counts():
    """The time a stage took is that of every attempt, without the time between them."""
    start = {"event": "start"}
    events = [
        {**start, "time": 100.0},
        {"event": "progress", "time": 107.0},
        {"event": "phase", "time": 5000.0},  # a day later, libraries are loaded again
        {**start, "time": 5002.0},
        {"event": "checkpoint", "time": 5005.0},
        {**start, "time": 9000.0},
        {"event": "progress", "time": 9009.0},
    ]
    assert results.earlier(events) == 10.0
    assert results.earlier([]) == 0.0


@pytest.mark.parametrize("done", [True, False])
def test_leftovers_of_a_published_step_are_cleared(execute, make, plan, store, done):
    """A kill between publishing and clearing leaves a work folder; the next run removes it."""
    one = plan(make("sft"))
    execute(one)
    store.work(one.steps[0].key).mkdir(parents=True)
    if done:
        (store.work(one.steps[0].key) / "product.done").touch()
    execute(one)
    assert not store.work(one.steps[0].key).exists()
