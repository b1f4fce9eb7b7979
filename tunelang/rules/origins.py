"""Rules on where rows come from (TL306, TL316, TL318, TL319): what they may already be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, hint, warning
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Recipe, Ref
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import dropped, setting
from tunelang.rules.stages import data_of, stages

# Families by a word that every name of theirs holds, owner included.
FAMILIES = (
    "smollm", "llama", "qwen", "mistral", "gemma", "phi", "gpt", "claude", "gemini", "deepseek"
)  # fmt: skip
TRAINING_SPLIT = re.compile(r"train(\[.*\])?")


def lineage(recipe: Recipe, stage: Declared) -> Iterator[Declared]:
    """A stage and those whose weights it starts from, nearest first."""
    seen: set[str] = set()
    current: Declared | None = stage
    while current and current.kind == "stage" and current.name not in seen:
        seen.add(current.name)
        yield current
        current = recipe.declared.get(graph.start_of(current) or "")


def benchmark_leak(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL306: a gate's benchmark is measured after its own questions were trained on."""
    for recipe, stage in stages(resolved):
        for check in stage.checks:
            bench = recipe.of_kind("benchmark").get(check.on.name) if check.on else None
            if bench is None:
                continue
            earlier = [p for each in lineage(recipe, stage) for p in data_of(each, recipe)]
            for part in {each.name: each for each in earlier}.values():
                if _holds(part, bench) and not _cleaned(part, bench):
                    yield _leak(part, bench, Label(check.span, "decides by it"))


def _holds(part: Declared, bench: Declared) -> bool:
    """Whether a data set is named as the benchmark's task, and is not its training split."""
    source, task = part.get("from"), bench.get("from")
    if not source or not task or source.name not in ("hf", "files"):
        return False
    named = source.get("id") if source.name == "hf" else source.get("glob")
    words = re.findall(r"[a-z0-9]+", named.rpartition("/")[2].lower())
    split = str(source.get("split")) if source.name == "hf" else ""
    trains = TRAINING_SPLIT.fullmatch(split) or "train" in words
    return re.split(r"[_\W]", str(task.get("task")).lower())[0] in words and not trains


def _cleaned(part: Declared, bench: Declared) -> bool:
    return any(ref.name == bench.name for ref in part.get("decontaminate") or ())


def _leak(part: Declared, bench: Declared, gate: Label) -> Diagnostic:
    kept: tuple[Ref, ...] = part.get("decontaminate") or ()
    listed = ", ".join((*(ref.name for ref in kept), bench.name))
    return warning(
        "TL306",
        "benchmark-leak",
        f"`{part.name}` holds the questions of `{bench.name}`, and is trained on before its gate",
        part.span_of("from"),
        "not its training split",
        others=(gate,),
        help=f"write `decontaminate = [{listed}]`, or train on the `train` split",
        fix=setting(part, "decontaminate", f"[{listed}]"),
    )


def foreign_preferences(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL316: the pairs were written by another model family than the one that is trained."""
    for recipe, stage in stages(resolved):
        root = recipe.declared.get(graph.root_of(recipe, stage.name) or "")
        ours = _family(_model_name(root)) if root else None
        for part in data_of(stage, recipe):
            writer = part.get("written_by")
            form = part.get("format")
            pairs = form is None or form.name in ("preference", "ranking", "feedback")
            theirs = _family(writer) if writer else None
            if root and pairs and ours and theirs and ours != theirs:
                yield hint(
                    "TL316",
                    "foreign-preferences",
                    f"the pairs of `{part.name}` were written by {writer}, and `{stage.name}` "
                    f"goes back to `{root.name}`, a {ours}",
                    part.span_of("written_by"),
                    f"a {theirs} wrote them",
                    others=(Label(root.span, f"a {ours}"),),
                    help="pairs that the policy itself wrote teach it more about its own mistakes",
                )


def _model_name(model: Declared) -> str:
    place: Choice | None = model.get("from")
    named = [place.get(path) for path in ("id", "glob", "package", "file")] if place else []
    return " ".join(name for name in named if name)


def _family(name: str) -> str | None:
    return next((family for family in FAMILIES if family in name.lower()), None)


def two_ways_to_hold_out(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL318: rows are set aside and other rows are named to measure on."""
    recipe = resolved.recipe
    assert recipe is not None
    for data in recipe.of_kind("data").values():
        other = data.get("eval")
        if other and data.get("hold_out"):
            yield error(
                "TL318",
                "two-ways-to-hold-out",
                f"`{data.name}` sets rows aside and names `{other.name}` to measure on",
                data.span_of("eval"),
                "which of the two?",
                others=(Label(data.span_of("hold_out"), "sets rows aside"),),
                help="keep `eval`, and train on every row; or keep `hold_out`",
                fix=dropped(resolved, data.values["hold_out"]),
            )


def temperature_one_of_one(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL319: a way to share rows among sources, and only one source."""
    recipe = resolved.recipe
    assert recipe is not None
    for mix in recipe.of_kind("mix").values():
        given = mix.values.get("strategy")
        if given and given.span and len(mix.parts) == 1:
            only = mix.parts[0][0].name
            yield hint(
                "TL319",
                "temperature-one-of-one",
                f"`{mix.name}` has `{only}` alone, so its strategy changes nothing",
                given.span,
                "one source",
                help=f"leave it out, or train on `{only}` without a mix",
                fix=dropped(resolved, given, safe=True),
            )


RULES = (
    benchmark_leak,
    foreign_preferences,
    two_ways_to_hold_out,
    temperature_one_of_one,
)
