"""A worker without torch: `python -m tests.run.fake_worker STEP.json --home HOME`.

It "trains" a chain of hashes that depends on the seed and on every input's weights, with
checkpoints, so that a run that was killed and one that was not must end in equal bytes. What else
it does is told by `fields.do`: fail, crash, kill, full, silent, half.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from tunelang.run.events import append
from tunelang.run.store import sync_folder, write_atomic

SAVE_EVERY = 5


def main() -> None:
    path, home = Path(sys.argv[1]), Path(sys.argv[3])
    step = json.loads(path.read_text())
    work = path.parent
    events = work / "events.jsonl"
    at, state = resume(work) or (0, start(step, home))
    append(
        events,
        {
            "event": "start",
            "step": step["name"],
            "resumed_at": at,
            "threads": 1,
            "stack": {"fake": "1"},
            "device": "cpu",
        },
    )
    print("worker of", step["name"], "hub offline:", os.environ.get("HF_HUB_OFFLINE"), flush=True)
    steps = step["fields"].get("steps", 20)
    stopped = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    while at < steps:
        at += 1
        state = hashlib.sha256(state + b"%d" % at).digest()
        time.sleep(step["fields"].get("pause", 0.0))
        append(events, {"event": "progress", "at": at, "of": steps, "metrics": {"loss": 1 / at}})
        misbehave(step, at, events)
        if at % SAVE_EVERY == 0 or stopped:
            save(work, at, state)
            append(events, {"event": "checkpoint", "at": at})
        if stopped:
            sys.exit(130)
    finish(step, work, state)


def start(step: dict, home: Path) -> bytes:
    digest = hashlib.sha256(b"%d" % step["seed"])
    for model in step["inputs"].values():
        digest.update((home / "objects" / model["key"] / "model" / "weights.bin").read_bytes())
    return digest.digest()


def resume(work: Path) -> tuple[int, bytes] | None:
    saved = sorted((work / "checkpoints").glob("*.json"))
    if not saved:
        return None
    kept = json.loads(saved[-1].read_text())
    return kept["at"], bytes.fromhex(kept["state"])


def save(work: Path, at: int, state: bytes) -> None:
    (work / "checkpoints").mkdir(exist_ok=True)
    kept = json.dumps({"at": at, "state": state.hex()}).encode()
    write_atomic(work / "checkpoints" / f"{at:06}.json", kept)


def misbehave(step: dict, at: int, events: Path) -> None:
    do = step["fields"].get("do")
    if at != 7:
        return
    if do == "fail":
        told = {"message": "no row is long enough", "help": "make `length` smaller"}
        place = {"file": step["fields"]["file"], "line": 2}
        append(
            events,
            {"event": "failed", "code": "TL310", "name": "cut-before-answer", **told, **place},
        )
        sys.exit(1)
    if do == "crash":
        print("UserWarning: this is not the reason")
        raise RuntimeError("the tensor is on fire")
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "full":
        raise OSError(28, "No space left on device")
    if do == "half":
        with events.open("ab") as file:
            file.write(b'{"event":"progr')
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "silent":
        sys.exit(0)


def finish(step: dict, work: Path, state: bytes) -> None:
    product = work / "product"
    model = product / "model"
    model.mkdir(parents=True, exist_ok=True)
    with (model / "weights.bin").open("wb") as file:
        for part in range(64):
            file.write(hashlib.sha256(state + b"%d" % part).digest())
    after = {"loss": 0.5, **step["fields"].get("after", {})}
    metrics = {"before": {"loss": 1.0}, "after": after}
    (product / "metrics.json").write_text(json.dumps(metrics))
    described = {"kind": "lm", "base": None, "quant": None, "deltas": [], "tokenizer": None}
    (product / "product.json").write_text(json.dumps(described))
    samples = [{"prompt": "hello", "before": "what", "after": "good day"}]
    (product / "samples.json").write_text(json.dumps(samples))
    told = {"metrics": metrics, "peak_bytes": 123_000_000, "seconds": 12.3}
    append(work / "events.jsonl", {"event": "done", **told})
    sync_folder(product)
    write_atomic(work / "product.done", b"")


if __name__ == "__main__":
    main()
