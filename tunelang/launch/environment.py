"""The environment of a worker, complete before Python starts in it."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path

from tunelang.launch.rendezvous import Node, interface, own_address
from tunelang.plan.ir import HubModel, HubSource, Step

QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONUNBUFFERED": "1",
}
# Same bits every time. Passive waiting: two spinning OpenMP threads beside any busy process are
# 150 times slower. The workspace is what cuBLAS needs to be deterministic.
STEADY = {
    "OMP_WAIT_POLICY": "passive",
    "PYTHONHASHSEED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


def environment(
    step: Step, *, hub: bool, given: Mapping[str, str] | None = None, node: Node | None = None
) -> dict[str, str]:
    """The variables for the worker of `step`, over those `given` (else this process's own).

    `hub` says that the user allows downloads; a step that names nothing on the hub stays offline.
    `node` is this machine where several share the step.
    """
    threads = str(step.place.threads)
    ours = {**QUIET, **STEADY, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if not (hub and asks_hub(step)):
        ours["HF_HUB_OFFLINE"] = "1"
    if step.place.device == "cpu":
        ours["DS_ACCELERATOR"] = "cpu"
        ours["CUDA_VISIBLE_DEVICES"] = ""
    over = dict(os.environ if given is None else given)
    return {**_network(node), **over, **ours, **_tools(over), **_own_code(over)}


def _tools(given: Mapping[str, str]) -> dict[str, str]:
    """DeepSpeed compiles when it starts and asks for `ninja`, which pip puts beside Python."""
    beside = str(Path(sys.executable).parent)
    return {"PATH": os.pathsep.join([beside, given.get("PATH", os.defpath)])}


def _network(node: Node | None) -> dict[str, str]:
    """Gloo takes the interface that the machine's own name means: on Debian, the loopback."""
    name = interface(own_address(node)) if node else None
    return {"GLOO_SOCKET_IFNAME": name} if name else {}


def asks_hub(step: Step) -> bool:
    """Whether the step names a model or a data set on the hub."""
    data = step.data.parts if step.data else []
    models = any(isinstance(model, HubModel) for model in step.inputs.values())
    return models or any(isinstance(part.source, HubSource) for part in data)


def _own_code(given: Mapping[str, str]) -> dict[str, str]:
    """The worker imports the TuneLang of this process, and nothing from the current folder.

    A user's `datasets.py` beside a recipe would otherwise shadow the library.
    """
    safe = {"PYTHONSAFEPATH": "1"}
    root = str(Path(__file__).resolve().parents[2])
    if root in (*site.getsitepackages(), site.getusersitepackages()):
        return safe
    paths = [path for path in given.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {**safe, "PYTHONPATH": os.pathsep.join(dict.fromkeys([root, *paths]))}
