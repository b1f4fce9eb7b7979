"""Whether a plan runs here or through a scheduler: as the user says, else as it says itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunelang.diagnostic import Diagnostic, error
from tunelang.launch.folder import asked, scheduler, schedulers, submitted
from tunelang.plan.ir import Plan
from tunelang.run import cluster, execute
from tunelang.run.outcome import Outcome
from tunelang.run.progress import Display
from tunelang.run.state import Settings
from tunelang.run.store import Store

HERE = "local"  # stands for: by no scheduler


@dataclass(frozen=True)
class Means:
    """What the user says: the launcher in place of the plan's, and the file that prepares jobs."""

    launcher: str | None = None
    setup: Path | None = None


def carry_out(
    plan: Plan, store: Store, means: Means, *, display: Display, settings: Settings
) -> Outcome:
    """Run or hand in what is not in the store yet. A job (`only`) always runs here."""
    kinds = {step.place.submit.kind for step in plan.steps if step.place.submit}
    if settings.only is not None or means.launcher == HERE or not (means.launcher or kinds):
        return execute.execute(submitted(plan, None), store, display=display, settings=settings)
    wrong = _wrong(means, kinds)
    if wrong is not None:
        return Outcome(1, diagnostics=(wrong,))
    sent = submitted(plan, means.launcher or asked(plan))
    chosen = scheduler(asked(sent) or "")
    assert chosen is not None  # `_wrong` has looked
    return cluster.execute(
        sent, store, scheduler=chosen, display=display, settings=settings, setup=means.setup
    )


def _wrong(means: Means, kinds: set[str]) -> Diagnostic | None:
    """A launcher that hands in no jobs, or more than one of them."""
    known = [one.name for one in schedulers()]
    name = means.launcher or min(kinds)
    if means.launcher is None and len(kinds) > 1:
        message = f"the plan's stages name several schedulers: {', '.join(sorted(kinds))}"
        help = "one run hands its jobs to one: choose it with `--launcher`"
        return error("TL714", "backend-cannot", message, None, help=help)
    if name not in known:
        message = f"no launcher `{name}` takes jobs"
        help = f"there are {', '.join(known)}; `--launcher {HERE}` runs here"
        return error("TL714", "backend-cannot", message, None, help=help)
    return None
