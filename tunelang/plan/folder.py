"""The files of a plan's folder: all that it takes to carry the plan out, and to read it.

Launch scripts are a launcher's (launch/folder.py); the same plan gives the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tunelang.plan.engine_config import accelerate_config, deepspeed_config, yaml, zero_stage
from tunelang.plan.figures import band, dollars, gib
from tunelang.plan.ir import Plan, Step
from tunelang.plan.words import batch, method, strategy, where

OURS = re.compile(r"\d{2}-.+")  # NN-STAGE.json and its like, in the folders below
FOLDERS = ("steps", "deepspeed", "accelerate", "launch")
ABOUT = {
    "plan.json": "the whole plan; its schema is docs/plan.schema.json of TuneLang",
    "run.sh": "runs every stage after those it needs, or submits them to the scheduler",
    "launch/": "what starts each stage",
    "steps/": "what the worker of each stage reads",
    "deepspeed/": "the DeepSpeed configuration of stages under ZeRO, as the worker makes it",
    "accelerate/": "the same places for `accelerate launch`; TuneLang's worker does not read them",
}


def files(plan: Plan, launch: Mapping[str, str]) -> dict[str, str]:
    """Relative path -> text; `launch` holds the scripts that start the plan."""
    made = {"plan.json": plan.model_dump_json(indent=2) + "\n"}
    for number, step in enumerate(plan.steps, 1):
        name = f"{number:02}-{step.name}"
        made[f"steps/{name}.json"] = step.model_dump_json(indent=2) + "\n"
        if not step.schedule:
            continue
        under = f"deepspeed/{name}.json"
        if zero_stage(step.place):
            made[under] = json.dumps(deepspeed_config(step), indent=2) + "\n"
        config = accelerate_config(step, under if zero_stage(step.place) else None)
        if config is not None:
            made[f"accelerate/{name}.yaml"] = yaml(config)
    made |= launch
    return {**made, "README.md": readme(plan, sorted(made))}


def readme(plan: Plan, names: list[str]) -> str:
    """What lies in the folder, how to run it, and what every stage will need."""
    there = [each for each in ABOUT if any(name.startswith(each) for name in names)]
    listed = "\n".join(f"| `{each}` | {ABOUT[each]} |" for each in there)
    profile = f", profile `{plan.profile}`" if plan.profile else ""
    rows = "\n".join(_row(step) for step in plan.steps)
    return f"""# Plan of {Path(plan.recipe).name}{profile}

Made by `tunelang plan -o`. Carried out with

```sh
tunelang run plan.json
```

or `sh run.sh`, a stage at a time with `tunelang run plan.json --only STAGE`. Finished stages are
kept in the store (`TUNELANG_HOME`) and are not run again. Scripts start TuneLang with
`$TUNELANG_PYTHON`, `python3` where it is not set, after `$TUNELANG_SETUP`, a file of your own.

| file | holds |
| --- | --- |
{listed}

| stage | method | runs on | how | memory a device | time | cost |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
"""


def _row(step: Step) -> str:
    estimate = step.estimate
    how = [batch(step)] if step.batch else []
    cells = [step.name, method(step), where(step), ", ".join([*how, *strategy(step)])]
    if estimate:
        cost = dollars(estimate.dollars) if estimate.dollars is not None else ""
        time = band(estimate.seconds_low, estimate.seconds_high)
        cells += [gib(estimate.peak), time, cost]
    else:
        cells += ["", "", ""]
    return f"| {' | '.join(cells)} |"


def stale(folder: Path, made: Mapping[str, str]) -> list[Path]:
    """Files of an earlier plan that this one does not have: a stage renamed or moved."""
    found = [path for name in FOLDERS for path in sorted((folder / name).glob("*"))]
    return [
        path
        for path in found
        if OURS.fullmatch(path.name) and path.relative_to(folder).as_posix() not in made
    ]
