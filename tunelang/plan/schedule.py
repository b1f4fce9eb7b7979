"""How long a stage trains, converted to optimizer steps: epochs, tokens, episodes, ratios."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from tunelang.diagnostic import Diagnostic, error, replace, warning
from tunelang.plan.ir import Batch, Schedule
from tunelang.recipe.model import Choice, Declared, Given
from tunelang.units import Quantity, number, show


@dataclass(frozen=True)
class Extent:
    """How much there is to train on: rows, and characters where the rows could be read."""

    name: str
    rows: int | None
    characters: int | None = None
    stream: bool = False


# English text has about 4.4 characters a token in vocabularies of 32k to 128k (Llama 3 report,
# arXiv 2407.21783, section 3.2: 3.94 for its 128k vocabulary); only packed epochs use it.
CHARACTERS_PER_TOKEN = 3.94
EDGE = 1e-9  # 10% of 70 steps is 7 steps, however its decimals are rounded


def batch_of(stage: Declared, found: list[Diagnostic]) -> Batch:
    """The rows of one update; tokens are divided by the length."""
    assert stage.method is not None
    noun = stage.method.noun
    rollout = stage.get("rollout.batch")
    if rollout is not None:
        return Batch(size=rollout, noun=noun)
    batch: Quantity = stage.get("batch")
    if batch.unit != "tokens":
        return Batch(size=max(1, int(batch.amount)), noun=noun)
    length: Quantity = stage.get("length")
    size = batch.amount / length.amount
    if not float(size).is_integer():
        found.append(
            _lost(
                stage,
                "batch",
                f"{batch} are {number(round(size, 2))} sequences of {length}",
                f"the batch is {max(1, int(size))} {noun}",
            )
        )
    return Batch(size=max(1, int(size)), noun=noun)


def _lost(stage: Declared, path: str, message: str, help: str) -> Diagnostic:
    return warning("TL211", "precision-lost", message, stage.span_of(path), "not whole", help=help)


def schedule_of(
    stage: Declared, batch: Batch, extent: Extent, found: list[Diagnostic]
) -> Schedule | None:
    """The schedule in steps; None after saying why it cannot be counted."""
    steps = _steps(stage, batch, extent, found)
    if steps is None:
        return None
    chosen: Choice = stage.get("schedule")
    warmup, floor = _shape(stage, chosen, steps, found)
    kind = chosen.name
    assert kind in ("cosine", "linear", "constant", "slanted_triangular")
    return Schedule(
        steps=steps,
        warmup=warmup,
        kind=kind,  # type: ignore[arg-type]
        floor=floor,
        eval_every=max(1, _part(stage.get("eval_every"), steps)),
        save_every=max(1, _part(_saving(stage), steps)),
    )


def _shape(
    stage: Declared, chosen: Choice, steps: int, found: list[Diagnostic]
) -> tuple[int, float]:
    """Steps that the rate rises, and where it ends as a share of lr.

    A slanted triangle rises for floor(steps x cut) steps from 1/ratio and falls back to it.
    """
    if chosen.name == "slanted_triangular":
        return max(1, floor(steps * chosen.get("cut") + EDGE)), 1 / chosen.get("ratio")
    ends = chosen.get("floor")
    warmup = _warmup(stage, chosen.values["warmup"], steps, found)
    return warmup, 1.0 if ends is None else ends


def _warmup(stage: Declared, given: Given, steps: int, found: list[Diagnostic]) -> int:
    """TL603: what is written must leave steps at the peak; the default makes room."""
    warmup = _part(given.value, steps)
    if given.is_default or stage.values["schedule"].is_default:
        return min(warmup, steps - 1)
    if warmup >= steps and warmup > 0:
        shorter = show(Quantity(max(1, steps // 20) if steps > 1 else 0, "steps"))
        found.append(
            error(
                "TL603",
                "warmup-too-long",
                f"the warmup of `{stage.name}` is {warmup} steps, and it trains {steps}",
                given.span,
                "never reaches the peak rate",
                help=f"`warmup = {shorter}` is 5%" if steps > 19 else f"write `{shorter}`",
                fix=replace(given.span, shorter, safe=False) if given.span else None,
            )
        )
    return warmup


def _saving(stage: Declared) -> Quantity:
    """A stage that may stop early saves whenever it measures, unless the recipe says otherwise."""
    stop: Choice | None = stage.get("stop")
    follows = stop and stop.name == "early" and stage.values["save_every"].is_default
    every: Quantity = stage.get("eval_every" if follows else "save_every")
    return every


def _part(quantity: Quantity, steps: int) -> int:
    """`3%` of the steps, or so many steps."""
    if quantity.unit == "ratio":
        return ceil(quantity.amount * steps)
    return int(quantity.amount)


def _steps(stage: Declared, batch: Batch, extent: Extent, found: list[Diagnostic]) -> int | None:
    train: Quantity = stage.get("train")
    if train.unit == "steps":
        return _at_least_one(stage, int(train.amount), found)
    if train.unit == "episodes":
        return _whole(
            stage,
            train.amount / batch.size,
            f"{train} are not whole iterations of {batch.size}",
            found,
        )
    if train.unit == "tokens":
        length: Quantity = stage.get("length")
        share = train.amount / (batch.size * length.amount)
        return _whole(
            stage, share, f"{train} are not whole steps of {batch.size} x {length}", found
        )
    rows = _sequences(stage, extent)
    if rows is None:
        found.append(_uncounted(stage, extent))
        return None
    replies = stage.get("rollout.group") or 1  # to each prompt
    return max(1, ceil(train.amount * rows * replies / batch.size))


@dataclass
class Stretches:
    """Stretches of training among a method's own fields (`unfreeze = gradual(every = ...)`), in
    steps. `uncounted` is set, and said, where the rows of an epoch are not known."""

    stage: Declared
    batch: Batch | None
    schedule: Schedule | None
    extent: Extent | None
    found: list[Diagnostic]
    uncounted: bool = False

    def __call__(self, quantity: Quantity) -> float:
        """Epochs and shares of the run as whole steps; any other quantity as its amount."""
        steps = self.schedule.steps if self.schedule else 0
        if quantity.unit == "ratio":
            return ceil(quantity.amount * steps)
        if quantity.unit != "epochs" or self.batch is None or self.extent is None:
            return quantity.amount
        rows = _sequences(self.stage, self.extent)
        if rows is None:
            self._say()
        return ceil(quantity.amount * (rows or 0) / self.batch.size)

    def _say(self) -> None:
        assert self.extent is not None
        if not self.uncounted:
            self.found.append(_uncounted(self.stage, self.extent))
        self.uncounted = True


def _at_least_one(stage: Declared, steps: int, found: list[Diagnostic]) -> int | None:
    if steps >= 1:
        return steps
    found.append(
        error(
            "TL206",
            "out-of-range",
            f"`{stage.name}` trains for no step",
            stage.span_of("train"),
            "at least 1",
        )
    )
    return None


def _whole(stage: Declared, share: float, message: str, found: list[Diagnostic]) -> int:
    steps = max(1, ceil(share - 1e-9))
    if abs(steps - share) > 1e-6:
        found.append(_lost(stage, "train", message, f"it trains {steps:,} steps"))
    return steps


def _sequences(stage: Declared, extent: Extent) -> int | None:
    """Rows of one epoch; packed rows are counted by their estimated tokens."""
    if extent.rows is None or not stage.get("packing"):
        return extent.rows
    if extent.characters is None:
        return None
    length: Quantity = stage.get("length")
    tokens = extent.characters / CHARACTERS_PER_TOKEN + extent.rows  # an end mark each
    return max(1, ceil(tokens / length.amount))


def _uncounted(stage: Declared, extent: Extent) -> Diagnostic:
    """TL311: a stream has no end. TL323: rows that are elsewhere can be counted, but not here."""
    span = stage.span_of("train")
    if extent.stream:
        message = f"`{stage.name}` trains epochs, and the stream `{extent.name}` has no end"
        help = "write `train` in steps or tokens"
        return error("TL311", "stream-in-epochs", message, span, "passes over what?", help=help)
    packed = bool(stage.get("packing")) and extent.rows is not None
    what = "the tokens" if packed else "the rows"
    message = f"{what} of `{extent.name}` are not known here, so `{stage.name}` has no steps yet"
    help = "write `train` in steps or tokens"
    help += "" if packed else f", or `rows = ...` in `{extent.name}`; plan and run need it"
    return warning("TL323", "uncounted-rows", message, span, "how many steps?", help=help)
