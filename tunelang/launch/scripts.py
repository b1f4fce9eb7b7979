"""The shell scripts of a plan's folder where no scheduler is asked: a step each, all in order."""

from __future__ import annotations

import shlex

from tunelang.launch.scheduler import numbered
from tunelang.plan.ir import Plan, Step

PYTHON = '"${TUNELANG_PYTHON:-python3}"'
# What a machine needs before TuneLang starts is the user's: modules, conda, variables, secrets.
SETUP = """\
if [ -n "${TUNELANG_SETUP:-}" ]; then . "$TUNELANG_SETUP"; fi
"""
FOUND = f"""\
{PYTHON} -c 'import tunelang' 2>/dev/null || {{
  echo "{PYTHON.strip('"')} has no TuneLang: activate its environment, or set TUNELANG_PYTHON" >&2
  exit 1
}}
"""
HERE = 'cd "$(dirname "$0")/.."\n'


def only(step: Step) -> str:
    """The command that carries out one step of the plan."""
    return f"{PYTHON} -m tunelang run plan.json --only {shlex.quote(step.name)} --plain"


def title(plan: Plan, step: Step) -> str:
    number = plan.steps.index(step) + 1
    return f"# Stage `{step.name}`, step {number} of {len(plan.steps)} of {plan.recipe}.\n"


def files(plan: Plan) -> dict[str, str]:
    """`launch/NN-STAGE.sh` and `run.sh`; a stage of several machines is started on each."""
    made = {
        numbered(number, step, "sh"): _script(plan, step)
        for number, step in enumerate(plan.steps, 1)
    }
    run = "#!/bin/sh\n# Runs every stage in order; what is in the store already is reused.\n"
    run += "set -eu\n" + HERE.replace("/..", "")
    run += "".join(f"sh {shlex.quote(name)}\n" for name in made)
    return {**made, "run.sh": run}


def _script(plan: Plan, step: Step) -> str:
    head = f"#!/bin/sh\n{title(plan, step)}"
    if step.place.nodes == 1:
        return f"{head}set -eu\n{HERE}{SETUP}{FOUND}exec {only(step)}\n"
    ask = (
        f"# Start it on each of {step.place.nodes} machines that share TUNELANG_HOME: "
        f"NODE=0 to {step.place.nodes - 1},\n"
        "# RENDEZVOUS=HOST:PORT, where the machine of NODE=0 is reached by all others.\n"
    )
    meet = '--node "${NODE:?0 to %d}" --rendezvous "${RENDEZVOUS:?HOST:PORT of node 0}"'
    meet %= step.place.nodes - 1
    return f"{head}{ask}set -eu\n{HERE}{SETUP}{FOUND}exec {only(step)} {meet}\n"
