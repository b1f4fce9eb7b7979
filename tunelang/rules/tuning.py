"""Rules on hyperparameters (TL6xx) that the recipe alone decides; bands with their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, error, hint, replace, warning
from tunelang.recipe import graph, kinds
from tunelang.recipe.model import Axis, Choice, Declared, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import setting
from tunelang.rules.stages import POLICIES, recipe_of, stages
from tunelang.source import Span
from tunelang.units import Quantity, number, show

# Peak rates of pretrained models whose every weight trains.
LR: Mapping[str, tuple[float, float]] = {
    # 1e-4 and 5e-4 in "Don't Stop Pretraining" (arXiv 2004.10964), 3e-4 in arXiv 2403.08763
    "domain_adaptation": (1e-6, 5e-4),
    # 5e-6 and 9.65e-6 in InstructGPT (arXiv 2203.02155), 5e-6 in Tulu 3 (arXiv 2411.15124),
    # 2e-5 in Alpaca
    "sft": (1e-6, 1e-4),
    "instruction_tuning": (1e-6, 1e-4),
    "multi_task": (1e-6, 1e-4),
    "esft": (1e-6, 1e-4),  # 1e-5 in the paper, section 4.1 (arXiv 2407.01906)
    # 9e-6 in InstructGPT, 5e-5 in arXiv 1909.08593, 1e-4 is TRL's default
    "reward_modeling": (1e-6, 1e-4),
    # 3e-7 in Tulu 3, 3e-6 in arXiv 2403.17031, up to 1e-5 in the code of arXiv 1909.08593
    "ppo": (1e-7, 2e-5),
    "grpo": (1e-7, 2e-5),  # 1e-6 in DeepSeekMath (arXiv 2402.03300) and DAPO (arXiv 2503.14476)
    "rloo": (1e-7, 2e-5),  # 1e-6 is TRL's default
    # 5e-7 in the code of arXiv 2305.18290 and in Zephyr (arXiv 2310.16944), 1e-6 TRL's default
    "dpo": (1e-7, 1e-5),
    "ipo": (1e-7, 1e-5),
    "kto": (1e-7, 1e-5),
    "simpo": (1e-7, 1e-5),  # 3e-7 to 1e-6 in arXiv 2405.14734
    "orpo": (1e-6, 1e-4),  # 5e-6 and 8e-6 in arXiv 2403.07691, beside an sft loss
    # 5e-6 in arXiv 2306.17492, 2e-5 in the code of arXiv 2304.05302
    "comparative_ranking": (1e-7, 5e-5),
}
# Adapters take about ten times the rate ("LoRA Without Regret", 2025); half to twice that.
ADAPTER, ADAPTER_LOW, ADAPTER_HIGH = 10, 5, 20
EDGE = 1e-6  # a rate on the edge of a band is in it, however its decimals are rounded
# Passes over the rows: 4 are nearly as good as new text (arXiv 2305.16264); InstructGPT tunes for
# 16 and trains its judge for one, as Llama 2 does, because a judge overfits; a second is let pass.
EPOCHS: Mapping[str, float] = {
    "domain_adaptation": 4,
    "sft": 16,
    "instruction_tuning": 16,
    "multi_task": 16,
    "reward_modeling": 2,
}
CLIP = (0.1, 0.3)  # the values that Schulman et al. compare (arXiv 1707.06347, table 1)


def rate(value: float) -> str:
    """A learning rate as people write it: 2e-4."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{number(float(mantissa))}e{int(exponent)}"


def lr_out_of_range(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL601 and TL602. Models from scratch are taught at rates of their own."""
    recipe = recipe_of(resolved)
    for stage in recipe.stages.values():
        method, lr = stage.method, stage.get("lr")
        if method and lr and method.name in LR and _pretrained(recipe, stage):
            yield from _rate(stage, method.name, lr)


def _pretrained(recipe: Recipe, stage: Declared) -> bool:
    root = graph.root_of(recipe, stage.name)
    place: Choice | None = recipe.declared[root].get("from") if root else None
    return place is not None and place.name != "scratch"


def _rate(stage: Declared, method: str, lr: float) -> Iterator[Diagnostic]:
    low, high = LR[method]
    weights: Choice | None = stage.get("weights")
    full = weights is None or _own(weights)
    if full and high * (1 + EDGE) < lr <= high * ADAPTER_HIGH * (1 + EDGE):
        yield _adapters_rate(stage, lr, high)
        return
    if not full:
        low, high = low * ADAPTER_LOW, high * ADAPTER_HIGH
    if not low * (1 - EDGE) <= lr <= high * (1 + EDGE):
        what = _trained(weights)
        yield warning(
            "TL601",
            "lr-out-of-range",
            f"`{stage.name}` trains {what} at {rate(lr)}, "
            f"{'above' if lr > high else 'below'} what {method} usually takes",
            stage.span_of("lr"),
            f"usually {rate(low)} to {rate(high)}",
            help=f"{_usual(stage, full)} is a common choice",
            fix=setting(stage, "lr", _usual(stage, full)),
        )


def _trained(weights: Choice | None) -> str:
    """What trains, in words."""
    if weights is None or weights.name == "full":
        return "every weight"
    return "weights of the model" if _own(weights) else "an adapter"


def _own(weights: Choice) -> bool:
    """Weights of the model itself. Chosen experts are kept beside it and learn as what they are."""
    return kinds.weights()[weights.name].like in ("full", "experts")


def _adapters_rate(stage: Declared, lr: float, high: float) -> Diagnostic:
    what = _trained(stage.get("weights"))
    return warning(
        "TL602",
        "adapter-lr-on-full",
        f"`{stage.name}` trains {what} at {rate(lr)}, which is a rate for adapters",
        stage.span_of("lr"),
        f"at most {rate(high)} for full tuning",
        help=f"lower it to {_usual(stage, True)}, or train an adapter: `weights = lora(rank = 16)`",
        fix=setting(stage, "lr", _usual(stage, True)),
    )


def _usual(stage: Declared, full: bool) -> str:
    """The method's default rate, ten times that for an adapter."""
    assert stage.method is not None
    return rate(float(stage.method.fields["lr"].default or 0) * (1 if full else ADAPTER))


def many_epochs(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL609: more passes than the method bears. What is written in steps is meant so."""
    for stage in recipe_of(resolved).stages.values():
        train: Quantity | None = stage.get("train")
        bears = EPOCHS.get(stage.method.name) if stage.method else None
        if train and bears and train.unit == "epochs" and train.amount > bears:
            yield warning(
                "TL609",
                "many-epochs",
                f"`{stage.name}` goes over its rows {number(train.amount)} times",
                stage.span_of("train"),
                f"overfits after about {number(bears)}",
                help=f"train at most {show(Quantity(bears, 'epochs'))}, or bring more rows",
            )


def floor_above_peak(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL610: the schedule ends higher than it begins."""
    for stage in recipe_of(resolved).stages.values():
        schedule: Choice | None = stage.get("schedule")
        floor = schedule.values.get("floor") if schedule else None
        if schedule and floor and floor.value > 1:
            lr = stage.get("lr")
            yield error(
                "TL610",
                "floor-above-peak",
                f"the rate of `{stage.name}` ends at {rate(lr * floor.value)}, above its peak "
                f"of {rate(lr)}",
                floor.span or stage.span_of("schedule"),
                "more than the peak",
                help="the floor is a share of `lr`; 10% is common, `constant` does not fall at all",
            )


def odd_alpha(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL611: an update scaled to much less or more than itself."""
    for stage in recipe_of(resolved).stages.values():
        weights: Choice | None = stage.get("weights")
        rank, alpha = (weights.get("rank"), weights.get("alpha")) if weights else (None, None)
        # Rank to twice the rank is common; half and double of that is no accident yet.
        if weights and rank and alpha and not rank / 2 <= alpha <= 4 * rank:
            yield hint(
                "TL611",
                "odd-alpha",
                f"alpha {number(alpha)} scales the rank {rank} update of `{stage.name}` by "
                f"{number(round(alpha / rank, 3))}",
                weights.values["alpha"].span or stage.span_of("weights"),
                "usually rank to 2 × rank",
                help=f"`alpha = {2 * rank}` scales it by 2",
                fix=_alpha(weights, 2 * rank),
            )


def _alpha(weights: Choice, alpha: int) -> Fix | None:
    """Alpha replaced where it is written, else added behind the rank."""
    written, rank = weights.values["alpha"].span, weights.values["rank"].span
    if written:
        return replace(written, str(alpha), safe=False)
    if rank is None:
        return None
    end = Span(rank.source, rank.end, rank.end)
    return Fix(f"add `alpha = {alpha}`", (Edit(end, f", alpha = {alpha}"),), safe=False)


def clip_out_of_range(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL613: a clip of ppo, grpo or rloo outside what is used."""
    low, high = CLIP
    fields = [
        (stage, path)
        for _, stage in stages(resolved, *POLICIES)
        for path in ("clip", "clip.low", "clip.high")
    ]
    for stage, path in fields:
        clip = stage.get(path)
        if clip and not low <= clip <= high:
            effect = "large steps pass" if clip > high else "hardly a step passes"
            yield hint(
                "TL613",
                "clip-out-of-range",
                f"`{stage.name}` clips ratios at 1 ± {number(clip)}, so {effect}",
                stage.span_of(path),
                f"usually {low} to {high}",
                help="0.2 is the default",
                fix=setting(stage, path, "0.2"),
            )


def axis_not_read(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL615: a sweep varies something that no stage reads, so its points are all alike."""
    recipe = recipe_of(resolved)
    for sweep in recipe.sweeps.values():
        for axis in sweep.axes:
            if not _is_read(axis, resolved):
                yield warning(
                    "TL615",
                    "axis-not-read",
                    f"no stage reads `{axis.path}`, so every value makes the same recipe",
                    axis.span,
                    f"{len(axis.values)} equal points",
                    others=(Label(sweep.span, "varied by this sweep"),),
                )


def _is_read(axis: Axis, resolved: Resolved) -> bool:
    recipe, scope = recipe_of(resolved), resolved.scope
    target = scope.look_up(axis.path) if scope else None
    if target is None:
        return True  # an axis of nothing is said elsewhere
    declaration, where, _ = target
    name = where.full(declaration.name.text)
    reached = {each for stage in recipe.stages for each in graph.reachable(recipe, stage)}
    return name in reached or name in resolved.used


RULES = (
    lr_out_of_range,
    many_epochs,
    floor_above_peak,
    odd_alpha,
    clip_out_of_range,
    axis_not_read,
)
