"""Talks to what a stage made: a worker that answers JSON lines with JSON lines.

In: {"messages": [...]} or {"prompt": TEXT}, with max_new_tokens, temperature, seed and raw.
Out: {"ready": true, "template": BOOL} once, then for each request {"token": TEXT} as they come
and {"done": true, "text": TEXT}; {"failed": MESSAGE, "code": ..., "help": ...} for a mistake.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import IO, Any

from tunelang.diagnostic import error
from tunelang.errors import UserError
from tunelang.launch.environment import environment
from tunelang.plan.ir import Step
from tunelang.run.store import Store

MODULE = "tunelang.train.generate"
SHOWN = 6  # lines of the worker's log in a message


@dataclass(frozen=True)
class Speaker:
    """A running worker and the file its errors go to.

    `template` says whether the model knows turns; without, it continues plain text.
    """

    name: str
    process: subprocess.Popen[str]
    log: IO[str]
    template: bool = True

    def ask(self, request: Mapping[str, Any]) -> Iterator[str]:
        """The reply to one request, in the pieces it comes in. Raises `UserError` if it ends."""
        assert self.process.stdin  # a pipe
        try:
            self.process.stdin.write(json.dumps(request, ensure_ascii=False) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        for answer in self.answers():
            if answer.get("done"):
                return
            if "token" in answer:
                yield answer["token"]

    def answers(self) -> Iterator[dict[str, Any]]:
        """What the worker says, without end. Raises `UserError` for a mistake, or when it ends."""
        assert self.process.stdout  # a pipe
        for line in self.process.stdout:
            answer = _answer(line)
            if "failed" in answer:
                code, name = answer.get("code", "TL723"), answer.get("name", "cannot-reply")
                told = error(code, name, answer["failed"], None, help=answer.get("help", ""))
                raise UserError(told)
            yield answer
        raise self._ended()

    def _ended(self) -> UserError:
        self.process.wait()
        self.log.seek(0)
        lines = [line.rstrip() for line in self.log if line.strip()][-SHOWN:]
        said = "".join(f"\n  | {line}" for line in lines) or "\n  | (it wrote nothing)"
        message = f"`{self.name}` stopped answering; the last lines of its worker were{said}"
        return UserError(error("TL723", "worker-crashed", message, None))


@contextmanager
def speaking(store: Store, step: Step, *, module: str = MODULE) -> Iterator[Speaker]:
    """Start the worker that answers for a step's object; it ends with the block."""
    command = [sys.executable, "-m", module, "--home", str(store.home), "--key", step.key]
    command += ["--precision", step.precision]
    tied = [sys.executable, "-m", "tunelang.run.parent", str(os.getpid()), *command]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            tied,
            env=environment(step, hub=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            speaker = Speaker(step.name, process, log)
            ready = next(answer for answer in speaker.answers() if answer.get("ready"))
            yield replace(speaker, template=bool(ready.get("template", True)))
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                process.communicate()


def _answer(line: str) -> dict[str, Any]:
    """A line that is not JSON came from a library that prints: it answers nothing."""
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
