"""How the machines of a step find each other in the store that they share, before they compute.

The first calls in `work/KEY/nodes/call.json`; each other answers with a token of its own; the first
names all tokens, and who finds its own starts. So nobody goes by what an earlier attempt left
behind, and a store that one machine does not see is told before anything is computed.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tunelang.diagnostic import Diagnostic, error
from tunelang.errors import UserError
from tunelang.launch.environment import environment
from tunelang.launch.launcher import Job
from tunelang.launch.rendezvous import Node
from tunelang.launch.scheduler import RETRY
from tunelang.plan.ir import Plan, Step
from tunelang.run import worker
from tunelang.run.interrupt import Interrupt, watched
from tunelang.run.outcome import INTERRUPTED
from tunelang.run.refusal import launcher
from tunelang.run.state import Settings
from tunelang.run.store import Store, write_json

PATIENCE = 300.0  # seconds: machines of one job start within a minute or two of each other
AFTER = 30.0  # seconds that a scheduler has to end a job whose first machine has failed
LOOK = 0.2  # seconds between looks
CALL = "call.json"
Say = Callable[[str], None]


def gather(node: Node, work: Path, interrupt: Interrupt, say: Say) -> None:
    """On the first machine: return when all others have answered. Raises `UserError` TL728."""
    folder = work / "nodes"
    folder.mkdir(parents=True, exist_ok=True)
    call, end, told = uuid4().hex, time.monotonic() + PATIENCE, False
    write_json(folder / CALL, {"call": call})
    while len(tokens := _answers(folder, node.count, call)) < node.count - 1:
        missing = [rank for rank in range(1, node.count) if rank not in tokens]
        if interrupt.count:
            return
        if time.monotonic() > end:
            raise UserError(_apart(missing, folder))
        if not told:
            say(f"waiting for {'node' if len(missing) == 1 else 'nodes'} {_list(missing)}")
            told = True
        time.sleep(LOOK)
    write_json(folder / CALL, {"call": call, "go": {str(rank): tokens[rank] for rank in tokens}})


def take_part(plan: Plan, store: Store, settings: Settings, say: Say) -> int:
    """On each other machine: every step of several machines, in order. Gives the exit code.

    How a step of a job failed, the first machine says: where that ends the job, this one had no
    part in it and gives 0. Where it does not, 75 asks for another attempt of this machine too.
    """
    shared = [step for step in plan.steps if step.place.nodes > 1]
    with watched() as interrupt:
        for step in shared:
            code = 0 if store.has(step.key) else follow(step, store, settings, interrupt, say)
            if code and settings.only is None:
                return code
            if code:
                return 0 if _ended(interrupt) else RETRY
    return 0


def _ended(interrupt: Interrupt) -> bool:
    """Whether a scheduler ends this machine's part, given some time."""
    end = time.monotonic() + AFTER
    while not interrupt.count and time.monotonic() < end:
        time.sleep(LOOK)
    return interrupt.count > 0


def follow(step: Step, store: Store, settings: Settings, interrupt: Interrupt, say: Say) -> int:
    """Take part in a step as the first machine leads. Gives the exit code."""
    node = settings.node
    chosen = launcher(step.place.launcher)
    assert node is not None and chosen is not None  # refusals() has looked
    work = store.work(step.key)
    if not _called(node, step, store, interrupt, say):
        return INTERRUPTED if interrupt.count else 0
    job = Job(step, work / "step.json", store.home, settings.module, node)
    variables = environment(step, hub=settings.hub, node=node)
    log = f"node-{node.rank}.log"
    order = worker.Order(chosen.command(job), variables, work / "nodes", None, log)
    ending = worker.run(order, lambda _events: None, interrupt)
    return INTERRUPTED if ending.interrupted else ending.code


def _called(node: Node, step: Step, store: Store, interrupt: Interrupt, say: Say) -> bool:
    """Wait for the first machine's call; False where the step is done, or the user stops."""
    folder, token, answered = store.work(step.key) / "nodes", uuid4().hex, ""
    say(f"node {node.rank}: waiting for the first machine to start `{step.name}`")
    while not interrupt.count and not store.has(step.key):
        call = _read(folder / CALL)
        if call.get("go", {}).get(str(node.rank)) == token:
            return True
        if call and call["call"] != answered:
            answered = call["call"]
            answer = {"call": answered, "token": token, "machine": socket.gethostname()}
            with suppress(FileNotFoundError):  # the step ended meanwhile, and its folder with it
                write_json(folder / f"node-{node.rank}.json", answer)
        time.sleep(LOOK)
    return False


def _answers(folder: Path, count: int, call: str) -> dict[int, str]:
    """The token of each machine that has answered this call."""
    answers = {rank: _read(folder / f"node-{rank}.json") for rank in range(1, count)}
    return {rank: one["token"] for rank, one in answers.items() if one.get("call") == call}


def _read(path: Path) -> dict[str, Any]:
    """A file that is written in one go by another machine; empty while it is not there."""
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _apart(missing: list[int], folder: Path) -> Diagnostic:
    message = (
        f"{'node' if len(missing) == 1 else 'nodes'} {_list(missing)} did not answer "
        f"in {folder} within {PATIENCE:.0f} s"
    )
    help = (
        "TUNELANG_HOME has to be one folder that all machines share, and every machine has to run "
        "the same command with its own `--node`"
    )
    return error("TL728", "nodes-apart", message, None, help=help)


def _list(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))
