"""Jobs handed in, followed, found again and left, with a scheduler that the tests play."""

from __future__ import annotations

import io
import signal
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from tunelang.launch.scheduler import Scheduler, Status, job_name
from tunelang.plan.ir import Submit
from tunelang.run import carry, cluster, execute, jobs
from tunelang.run.progress import display
from tunelang.run.state import Settings

WORKER = Settings(module="tests.run.fake_worker")


@dataclass
class Played:
    """A scheduler whose jobs run one a look, when those they wait for have succeeded.

    `ends` says how often a job of that step fails before it runs, and `requeues` whether it is
    started again by the scheduler.
    """

    plan: object
    store: object
    waits: bool = True
    name: str = "slurm"
    ends: dict = field(default_factory=dict)
    requeues: bool = False
    known: dict = field(default_factory=dict)
    orders: list = field(default_factory=list)
    sleeping: bool = False

    def scheduler(self) -> Scheduler:
        return Scheduler(
            self.name,
            self.waits,
            lambda _plan: {"run.sh": "true\n"},
            lambda number, step: f"launch/{number:02}-{step.name}.sbatch",
            self.submit,
            self.states,
            lambda jobs: ["scancel", *(status.id for _, status in jobs)],
        )

    def submit(self, order):
        self.orders.append((order.step.name, tuple(order.after)))
        number = str(len(self.orders))
        self.known[job_name(order.step)] = Status(number, "waiting", "pending (Priority)")
        return number

    def states(self, steps):
        if not self.sleeping:
            self.advance()
        return dict(self.known)

    def advance(self):
        for step in self.plan.steps:
            mine = self.known.get(job_name(step))
            if mine is None or mine.word != "waiting":
                continue
            if all(self.word(name) == "ended" for name in step.after):
                self.known[job_name(step)] = self.run(step, mine)
                return

    def word(self, name):
        step = next(step for step in self.plan.steps if step.name == name)
        status = self.known.get(job_name(step))
        return "ended" if self.store.has(step.key) else status and status.word

    def run(self, step, mine):
        if self.ends.get(step.name, 0):
            self.ends[step.name] -= 1
            if self.requeues:
                return Status(mine.id, "waiting", "pending (BeginTime)")
            return Status(mine.id, "failed", "failed (NonZeroExitCode)")
        one = self.plan.model_copy(update={"steps": [step]})
        quiet = display(Console(file=io.StringIO()), plain=True)
        execute.execute(one, self.store, display=quiet, settings=WORKER)
        return Status(mine.id, "ended", "completed")


@pytest.fixture
def chain(make, plan):
    """Three steps that name those they need, and one beside them."""
    first = make("base")
    second = make("adapt", start=first, after=["base"])
    third = make("sft", start=second, after=["adapt"])
    return carry.submitted(plan(first, second, third, make("other", after=["base"])), "slurm")


@pytest.fixture
def played(chain, store, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK", 0.0)
    monkeypatch.setattr(cluster, "GRACE", 0.3)
    monkeypatch.setattr(execute, "refusals", lambda *_: [])
    monkeypatch.setattr(jobs.shutil, "which", lambda name: f"/usr/bin/{name}")
    return Played(chain, store)


@pytest.fixture
def follow(store):
    def run(played, plan=None, settings=WORKER, setup=None):
        told = io.StringIO()
        shown = display(Console(file=told, width=200), plain=True)
        outcome = cluster.execute(
            plan or played.plan,
            store,
            scheduler=played.scheduler(),
            display=shown,
            settings=settings,
            setup=setup,
        )
        return outcome, told.getvalue()

    return run


def test_every_step_is_handed_in_with_those_it_waits_for(played, follow, store):
    """A job knows the ids of the jobs it needs; what they make is judged and told as at home."""
    outcome, told = follow(played)
    assert outcome.exit_code == 0
    assert played.orders == [("base", ()), ("adapt", ("1",)), ("sft", ("2",)), ("other", ("1",))]
    assert [result.state for result in outcome.results] == ["run"] * 4
    assert outcome.results[2].after["loss"] == 0.5
    assert "base   job 1, handed in" in told
    folder = next(store.run_folder("chat").glob("plans/*"))
    assert (folder / "plan.json").read_text() == played.plan.model_dump_json(indent=2) + "\n"


def test_what_is_in_the_store_is_not_handed_in(played, follow):
    """A second run reuses everything, and hands in nothing."""
    follow(played)
    outcome, _ = follow(played)
    assert len(played.orders) == 4
    assert [result.state for result in outcome.results] == ["reused"] * 4


def test_without_dependencies_jobs_are_handed_in_as_their_needs_end(played, follow):
    """Schedulers that know no order: no job waits for another, and none comes too early."""
    played.waits = False
    outcome, _ = follow(played)
    assert outcome.exit_code == 0
    assert [name for name, after in played.orders if not after] == ["base", "adapt", "other", "sft"]


def test_a_failed_job_ends_those_behind_it_only(played, follow):
    """The others are followed to their end; the same command tries the failed one again."""
    played.ends = {"adapt": 1}
    outcome, _ = follow(played)
    assert outcome.exit_code == 1
    (found,) = outcome.diagnostics
    assert (found.code, found.name) == ("TL729", "job-failed")
    assert "job 2 of stage `adapt` ended: failed (NonZeroExitCode)" in found.message
    states = {result.step.name: result.state for result in outcome.results}
    assert states == {"base": "run", "adapt": "failed", "other": "run"}
    played.known.pop(job_name(played.plan.steps[2]))  # as Slurm cancels it
    again, _ = follow(played)
    assert again.exit_code == 0
    assert played.orders[4:] == [("adapt", ()), ("sft", ("5",))]


def test_a_requeued_job_is_followed_on(played, follow):
    """The scheduler starts it again under the same number; nothing is handed in twice."""
    played.ends, played.requeues = {"adapt": 2}, True
    outcome, told = follow(played)
    assert outcome.exit_code == 0
    assert len(played.orders) == 4
    assert "job 2 is pending (BeginTime)" in told


def test_a_gate_closes_what_is_behind(played, follow, gate):
    """The stage is kept, its gate is told, and those behind are no results."""
    steps = list(played.plan.steps)
    steps[1] = steps[1].model_copy(update={"gates": [gate("loss", "<", 0.1)]})
    played.plan = played.plan.model_copy(update={"steps": steps})
    outcome, _ = follow(played)
    assert outcome.exit_code == 1
    assert [found.code for found in outcome.diagnostics] == ["TL721"]
    assert [result.step.name for result in outcome.results] == ["base", "adapt", "other"]


def test_ctrl_c_leaves_the_jobs(played, follow, monkeypatch):
    """Exit code 130, the numbers and the command that ends them; the next run follows them."""
    played.sleeping = True
    with monkeypatch.context() as pressed:
        pressed.setattr(cluster, "_wait", lambda _: signal.raise_signal(signal.SIGINT))
        outcome, _ = follow(played)
    assert outcome.exit_code == 130
    assert outcome.left == (
        "jobs 1, 2, 3, 4 go on: the same command follows them, `scancel 1 2 3 4` ends them"
    )
    played.sleeping = False
    outcome, _ = follow(played)
    assert outcome.exit_code == 0
    assert len(played.orders) == 4


def test_a_job_that_left_nothing_is_told(played, follow):
    """A job that ended well and published elsewhere, and one that is not known any more."""
    played.plan = played.plan.model_copy(update={"steps": played.plan.steps[:1]})
    played.run = lambda _step, mine: Status(mine.id, "ended", "completed")
    outcome, _ = follow(played)
    (found,) = outcome.diagnostics
    assert found.code == "TL729"
    assert "what it made is not in" in found.message
    assert "all machines share" in found.help
    played.states = lambda _steps: {}
    outcome, _ = follow(played)
    (found,) = outcome.diagnostics
    assert "is not known any more, and left no product" in found.message


def test_where_the_store_is_not_seen_the_scheduler_is_believed(played, follow, store):
    """Kubernetes publishes on its volume: what is complete there is done, and not run again."""
    played.name, played.waits = "kubernetes", False
    first = played.plan.steps[0]
    submit = Submit(kind="kubernetes", options={"image": "i", "storage": "s"})
    sent = first.model_copy(update={"place": first.place.model_copy(update={"submit": submit})})
    plan = played.plan.model_copy(update={"steps": [sent, *played.plan.steps[1:]]})
    plan = carry.submitted(plan, "kubernetes")
    assert [step.place.submit for step in plan.steps] == [submit] * 4
    played.run = lambda _step, mine: Status(mine.id, "ended", "complete")
    outcome, _ = follow(played, plan)
    assert outcome.exit_code == 0
    assert not store.keys()
    follow(played, plan)
    assert len(played.orders) == 4


def test_what_cannot_be_handed_in_is_told_before(played, follow, monkeypatch, tmp_path):
    """No tool, options that are missing, a file that jobs do not see: TL714 before anything."""
    monkeypatch.setattr(jobs.shutil, "which", lambda _: None)
    played.name = "kubernetes"
    sent = carry.submitted(played.plan, "kubernetes")
    outcome, _ = follow(played, sent, setup=tmp_path / "setup.sh")
    said = " ".join(found.message for found in outcome.diagnostics)
    assert {found.code for found in outcome.diagnostics} == {"TL714"}
    assert "`kubectl` is not on this machine" in said
    assert "kubernetes does not see" in said
    assert "it needs `image` and `storage`" in said
    assert not played.orders


def test_a_launcher_that_takes_no_jobs_is_told(played, store):
    """`--launcher torchrun` hands in nothing, and a plan of two schedulers goes to neither."""
    shown = display(Console(file=io.StringIO()), plain=True)
    means = carry.Means("torchrun")
    outcome = carry.carry_out(played.plan, store, means, display=shown, settings=WORKER)
    assert outcome.diagnostics[0].code == "TL714"
    assert "kubernetes, skypilot, slurm" in outcome.diagnostics[0].help
