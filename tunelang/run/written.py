"""A plan that was written to a folder, carried out as it stands: `tunelang run DIR`."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tunelang.diagnostic import Diagnostic, error
from tunelang.plan.ir import Plan, Step, StoreModel, StoreSource
from tunelang.recipe.names import nearest
from tunelang.run.store import Store

PLAN = "plan.json"


def is_plan(path: Path) -> bool:
    """Whether a path is a plan's folder or its file, and no recipe."""
    return path.suffix == ".json" or (path / PLAN).is_file()


def load(path: Path) -> Plan | Diagnostic:
    """The plan of a folder or file, or why it cannot be read."""
    file = path / PLAN if path.is_dir() else path
    try:
        return Plan.model_validate_json(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        why = getattr(problem, "strerror", None) or "it is not UTF-8"
        return _unreadable(file, f"cannot be read: {why}")
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        return _unreadable(file, f"is no plan of this version: {where}: {first['msg']}")


def narrowed(plan: Plan, only: str, store: Store) -> Plan | Diagnostic:
    """The plan with one step, whose inputs must be there."""
    names = {step.key: step.name for step in plan.steps}
    step = next((step for step in plan.steps if step.name == only), None)
    if step is None:
        guess, known = nearest(only, names.values()), ", ".join(names.values())
        help = f"did you mean `{guess}`?" if guess else f"its stages are {known}"
        return error("TL101", "unknown-name", f"the plan has no stage `{only}`", None, help=help)
    missing = [key for key in needs(step) if not store.has(key)]
    if missing and not store.has(step.key):
        named = ", ".join(f"`{names.get(key, key[:12])}`" for key in missing)
        message = f"stage `{only}` needs {named}, which the store {store.home} does not have"
        help = "run that first, with the same TUNELANG_HOME"
        return error("TL720", "not-in-store", message, None, help=help)
    return plan.model_copy(update={"steps": [step]})


def needs(step: Step) -> list[str]:
    """The keys of what a step reads from the store."""
    parts = step.data.parts if step.data else []
    read = [*step.inputs.values(), *(part.source for part in parts)]
    return sorted({each.key for each in read if isinstance(each, StoreModel | StoreSource)})


def _unreadable(file: Path, why: str) -> Diagnostic:
    help = "`tunelang plan RECIPE -o DIR` writes one"
    return error("TL012", "unreadable-file", f"`{file}` {why}", None, help=help)
