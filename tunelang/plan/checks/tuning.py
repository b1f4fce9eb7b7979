"""Rules on hyperparameters (TL6xx) that need steps, devices or the price of a run."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm

from tunelang.diagnostic import Diagnostic, Fix, Label, error, warning
from tunelang.estimate import able
from tunelang.plan.ir import Plan, Schedule, Step
from tunelang.plan.machines import machine_of
from tunelang.plan.passes.context import Context
from tunelang.plan.passes.works import shared_as
from tunelang.recipe import graph
from tunelang.recipe.model import Declared, Recipe, Sweep
from tunelang.rules.edits import setting
from tunelang.rules.stages import POLICIES
from tunelang.units import Quantity, show

FEW = 50  # updates; AdamW's second moment averages 1,000, and a warmup of 3% is not even two


def _trained(plan: Plan, context: Context) -> Iterator[tuple[Step, Schedule, Declared]]:
    for step in plan.steps:
        if step.schedule:
            yield step, step.schedule, context.recipe.declared[step.name]


def batch_not_divisible(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL604: a batch is micro × accumulation × devices, and is never changed to make it so."""
    for step, _, stage in _trained(plan, context):
        devices = _devices(step, stage, context.recipe)
        given: Quantity | None = stage.get("micro")
        size = step.batch.size if step.batch else 0
        micro = int(given.amount) if given else 1
        if not size or size % (micro * devices) == 0:
            continue
        at_once = f"{micro} on each of {devices} devices" if devices > 1 else f"{micro} at once"
        unit = lcm(micro * devices, stage.get("rollout.group") or 1)
        yield error(
            "TL604",
            "batch-not-divisible",
            f"the batch of `{stage.name}` is {size}, which {at_once} cannot make up",
            stage.span_of("micro" if given else _batch(stage)),
            f"{size} is no multiple of {micro * devices}",
            help=_mended(size, unit, "less at once" if given else "fewer devices"),
            fix=_smaller(stage, given, size, devices) if given else None,
        )


def _devices(step: Step, stage: Declared, recipe: Recipe) -> int:
    """Those that share the stage's batch."""
    machine = machine_of(stage, recipe)
    shared = step.weights and able.shardings(shared_as(step), step.weights.kind)
    return machine.devices if machine and shared else 1


def _batch(stage: Declared) -> str:
    return "rollout.batch" if stage.get("rollout.batch") else "batch"


def _mended(size: int, unit: int, instead: str) -> str:
    lower = size // unit * unit
    near = f"{lower} or {lower + unit}" if lower else f"{unit}"
    return f"a batch of {near} would do, or {instead}"


def _smaller(stage: Declared, given: Quantity, size: int, devices: int) -> Fix | None:
    """The largest micro-batch that divides a device's share; where it runs is in no key."""
    if size % devices:
        return None
    share = size // devices
    micro = max(n for n in range(1, min(int(given.amount), share) + 1) if share % n == 0)
    return setting(stage, "micro", show(Quantity(micro, given.unit)), safe=True)


def never_evaluates(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL605: the interval is longer than the run."""
    for _, schedule, stage in _trained(plan, context):
        if schedule.eval_every > schedule.steps:
            yield warning(
                "TL605",
                "never-evaluates",
                f"`{stage.name}` measures every {schedule.eval_every:,} steps and trains "
                f"{schedule.steps:,}",
                stage.span_of("eval_every"),
                "longer than the run",
                help="it is measured once, when it ends",
                fix=setting(stage, "eval_every", "25%", safe=True),
            )


def never_saves(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL606: nothing is saved before the end."""
    for step, schedule, stage in _trained(plan, context):
        if schedule.save_every < schedule.steps or stage.values["save_every"].is_default:
            continue
        hours = step.estimate.seconds / 3600 if step.estimate else 0
        loses = f"about {hours:.1f} h of work" if hours >= 0.1 else "all of its work"
        yield warning(
            "TL606",
            "never-saves",
            f"`{stage.name}` saves nothing before its last step, {schedule.steps:,}",
            stage.span_of("save_every"),
            "no checkpoint",
            help=f"an interruption loses {loses}; `save_every = 20%` is the default",
            fix=setting(stage, "save_every", "20%"),
        )


def stop_between_saves(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL607: the best measurement may fall on a step that was not saved."""
    for _, schedule, stage in _trained(plan, context):
        stop = stage.get("stop")
        early = stop is not None and stop.name == "early"
        if early and schedule.save_every % schedule.eval_every:
            yield error(
                "TL607",
                "stop-between-saves",
                f"`{stage.name}` measures every {schedule.eval_every:,} steps and saves every "
                f"{schedule.save_every:,}, so it may stop at weights that were not saved",
                stage.span_of("save_every"),
                f"no multiple of {schedule.eval_every:,}",
                others=(Label(stage.span_of("stop"), "stops at a measurement"),),
                help="save as often as it is measured",
                fix=setting(stage, "save_every", show(stage.get("eval_every")), safe=True),
            )


def too_few_steps(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL608: fewer than 50 updates come out. What is written in steps is meant so."""
    for step, schedule, stage in _trained(plan, context):
        passes = (stage.get("rollout.epochs") or 1) * (stage.get("rollout.minibatches") or 1)
        updates = schedule.steps * passes
        if updates < FEW and stage.get("train").unit != "steps":
            yield warning(
                "TL608",
                "too-few-steps",
                f"`{stage.name}` makes {updates} update{'s' if updates > 1 else ''} of its weights",
                stage.span_of("train"),
                f"fewer than {FEW}",
                help=_more(step, updates),
            )


def _more(step: Step, updates: int) -> str:
    smaller = step.batch.size * updates // FEW if step.batch and step.method not in POLICIES else 0
    shrink = f"a batch of {smaller} would make {FEW}" if smaller else "train longer"
    return f"{shrink}; a length in `steps` is taken as meant"


def sweep_too_big(plan: Plan, context: Context) -> Iterator[Diagnostic]:
    """TL614: points × cost is over the sweep's budget; stages no axis touches run once."""
    for sweep in context.recipe.sweeps.values():
        limit: Quantity | None = sweep.get("budget")
        varied = _varied(sweep, context.recipe)
        once = sum(_dollars(step) for step in plan.steps if step.name not in varied)
        each = sum(_dollars(step) for step in plan.steps if step.name in varied)
        points = len(sweep.points())
        if limit and once + points * each > limit.amount:
            yield error(
                "TL614",
                "sweep-too-big",
                f"the {points} points of `{sweep.name}` are estimated at "
                f"{_price(once + points * each)}, its budget is {show(limit)}",
                sweep.values["budget"].span or sweep.span,
                "less than the estimate",
                help=f"a point costs {_price(each)}, what they share {_price(once)}; the budget "
                f"pays for {max(0, int((limit.amount - once) / each)) if each else 0} of them",
            )


def _price(dollars: float) -> str:
    return f"${dollars:,.0f}" if dollars >= 100 else f"${dollars:,.2f}"


def _dollars(step: Step) -> float:
    return (step.estimate.dollars or 0) if step.estimate else 0


def _varied(sweep: Sweep, recipe: Recipe) -> set[str]:
    """The stages that an axis reaches; a `let` or `param` may reach all of them."""
    heads = [_declared(axis.path, recipe) for axis in sweep.axes]
    return {
        name
        for name in recipe.stages
        if None in heads or set(graph.reachable(recipe, name)) & set(heads)
    }


def _declared(path: str, recipe: Recipe) -> str | None:
    """The declaration that an axis is a field of; imported ones have two words."""
    words = path.split(".")
    names = (".".join(words[:count]) for count in (1, 2))
    return next((name for name in names if name in recipe.declared), None)


RULES = (
    batch_not_divisible,
    never_evaluates,
    never_saves,
    stop_between_saves,
    too_few_steps,
    sweep_too_big,
)
