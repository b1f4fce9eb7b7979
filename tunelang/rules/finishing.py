"""Rules on stages that train nothing: how replies are drawn and chosen, where adapters go."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, error, replace, warning
from tunelang.methods.evaluate import ANSWERED, DEFAULTS
from tunelang.recipe import graph, kinds
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import dropped, setting
from tunelang.rules.models import kind_of, quantised
from tunelang.rules.stages import stages
from tunelang.units import number

DRAWS = ("generate", "evaluate")


def unseeded_sampling(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL806: rows that later stages train on would be others where the default seed changes."""
    for _, stage in stages(resolved, *DRAWS):
        seed = stage.values.get("seed")
        if _draws(stage) and drawn(stage) and seed and seed.is_default:
            yield warning(
                "TL806",
                "unseeded-sampling",
                f"`{stage.name}` draws replies, and its seed is written nowhere",
                stage.span,
                f"draws with the default, {seed.value}",
                help=f"`seed = {seed.value}` keeps the rows when a default changes",
                fix=setting(stage, "seed", str(seed.value), safe=True),
            )


def wanted(stage: Declared) -> tuple[str, ...]:
    """What an evaluate stage measures: what it names, else the usual, and what its gates name."""
    model = stage.get("model")
    if not model or stage.method is None or stage.method.name != "evaluate":
        return ()
    named = tuple(map(str, stage.get("metrics") or ()))
    gated = tuple(check.metric for check in stage.checks if check.on is None)
    return (*(named or DEFAULTS["lm"]), *gated)


def drawn(stage: Declared) -> int:
    """Tokens of the longest reply that a stage draws while it trains nothing, 0 for none."""
    reply = stage.get("sampling.reply")
    draws = stage.product == "data" or set(wanted(stage)) & set(ANSWERED)
    return int(reply.amount) if reply and draws else 0


def choice_without_scores(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL552: the best of replies that nobody scores."""
    for _, stage in stages(resolved, "generate"):
        keep: Choice | None = stage.get("keep")
        if keep and keep.name != "all" and not stage.get("reward"):
            yield error(
                "TL552",
                "choice-without-scores",
                f"`{stage.name}` keeps replies by their scores, and nothing scores them",
                stage.span_of("keep"),
                "by which scores?",
                help="write `reward = JUDGE`, a reward_modeling stage",
            )


def too_few_replies(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL553: more is to be kept than is drawn."""
    for _, stage in stages(resolved, "generate"):
        keep: Choice | None = stage.get("keep")
        least = {"extremes": 2}.get(keep.name, 1) if keep else 1
        least = keep.get("count") if keep and keep.name == "best" else least
        replies = stage.get("replies") or 1
        if replies < least or (keep and keep.name == "best" and replies == 1):
            more = max(2 * least, 4)
            yield error(
                "TL553",
                "too-few-replies",
                f"`{stage.name}` draws {replies} of each prompt, too few to keep "
                f"`{keep.name if keep else ''}` of them",
                stage.span_of("keep"),
                "nothing to choose from",
                others=(Label(stage.span_of("replies"), f"draws {replies}"),),
                help=f"write `replies = {more}`",
                fix=setting(stage, "replies", str(more)),
            )


def same_replies(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL554: several replies to a prompt, all of them the likeliest."""
    for _, stage in stages(resolved, "generate"):
        if stage.get("replies") and stage.get("replies") > 1 and not _draws(stage):
            yield error(
                "TL554",
                "same-replies",
                f"`{stage.name}` takes the likeliest token each time, so all "
                f"{stage.get('replies')} replies to a prompt are the same",
                stage.span_of("sampling.temperature"),
                "draws nothing",
                others=(Label(stage.span_of("replies"), "several of each prompt"),),
                help="1.0 draws from the model as it is; 0.7 is more careful",
                fix=setting(stage, "sampling.temperature", "1.0"),
            )


def _draws(stage: Declared) -> bool:
    return bool(stage.get("sampling.temperature"))


def cut_without_draw(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL544: tokens are left out of a draw that is not made."""
    for _, stage in stages(resolved, *DRAWS):
        for path in ("sampling.top_p", "sampling.top_k"):
            given = stage.values.get(path)
            if given and given.span and not _draws(stage):
                name = path.partition(".")[2]
                yield warning(
                    "TL544",
                    "cut-without-draw",
                    f"`{stage.name}` takes the likeliest token each time, whatever `{name}` is",
                    given.span,
                    "changes nothing",
                    help="leave it out, or draw with a temperature",
                    fix=dropped(resolved, given),
                )


def judge_not_asked(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL545: a judge or a rival that no metric needs."""
    for _, stage in stages(resolved, "evaluate"):
        asked = wanted(stage) + tuple(check.metric for check in stage.checks)
        needs = {"judge": ("reward", "win_rate"), "versus": ("win_rate",)}
        for path, metrics in needs.items():
            if stage.get(path) and not set(metrics) & set(asked):
                yield warning(
                    "TL545",
                    "judge-not-asked",
                    f"`{stage.name}` names a `{path}`, and measures nothing that needs one",
                    stage.span_of(path),
                    "never asked",
                    help=f"add {' or '.join(f'`{each}`' for each in metrics)} to `metrics`",
                )


def merge_into_4bit(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL413: what an adapter learnt is smaller than the steps between 4-bit values."""
    for recipe, stage in stages(resolved, "merge"):
        start = recipe.declared.get(graph.start_of(stage) or "")
        if start and stage.get("onto") == "quantised" and quantised(recipe, start):
            span = stage.span_of("onto")
            yield warning(
                "TL413",
                "merge-into-4bit",
                f"`{stage.name}` rounds what `{start.name}` learnt to 4-bit values again",
                span,
                "most of it is lost",
                others=(Label(start.span_of("weights"), "4-bit here"),),
                help="`onto = dequantised` computes what was trained, in whole weights",
                fix=replace(span, "dequantised", safe=False),
            )


def nothing_to_merge(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL426: a merge that changes nothing, or a choice that it does not have."""
    for recipe, stage in stages(resolved, "merge"):
        start = recipe.declared.get(graph.start_of(stage) or "")
        if start is None or start.kind != "stage":
            continue
        onto = stage.values.get("onto")
        if not adapters(recipe, start):
            why, span = f"`{start.name}` has whole weights: there is nothing to merge", stage.span
        elif onto and onto.span and not quantised(recipe, start):
            why = f"`{start.name}` was trained over whole weights: `onto` has nothing to choose"
            span = onto.span
        else:
            continue
        yield warning(
            "TL426",
            "nothing-to-merge",
            why,
            span,
            "changes nothing",
            others=(Label(start.span, "trained here"),),
        )


def adapters(recipe: Recipe, stage: Declared) -> list[Declared]:
    """The stages whose deltas lie above the whole weights that a stage rests on, nearest first."""
    found: list[Declared] = []
    seen: set[str] = set()
    current: Declared | None = stage
    while current and current.kind == "stage" and current.name not in seen:
        seen.add(current.name)
        kind = kind_of(current)
        if kind == "full" or (current.method and current.method.name == "merge"):
            break
        found += [current] if kind else []
        current = recipe.declared.get(graph.start_of(current) or "")
    return found


def export_in_few_bits(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL424: no other tool's weights compute what 4-bit ones with an adapter do."""
    for recipe, stage in stages(resolved, "export"):
        start = recipe.declared.get(graph.start_of(stage) or "")
        form: Choice | None = stage.get("format")
        whole = form is not None and form.name != "adapter"
        if start and start.kind == "stage" and whole and quantised(recipe, start):
            yield error(
                "TL424",
                "export-in-few-bits",
                f"`{stage.name}` would export `{start.name}`, which rests in few bits",
                stage.span_of("model"),
                "no whole weights",
                others=(Label(start.span, "in few bits"),),
                help=f"merge it first: `stage whole: merge {{ model = {start.name} }}`",
            )


def no_adapter_to_export(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL425: an adapter is exported of a model that has none, or several."""
    for recipe, stage in stages(resolved, "export"):
        start = recipe.declared.get(graph.start_of(stage) or "")
        form: Choice | None = stage.get("format")
        if start is None or form is None or form.name != "adapter":
            continue
        held = adapters(recipe, start) if start.kind == "stage" else []
        peft = [each for each in held if kinds.weights()[kind_of(each)].adapter]
        if len(held) == 1 and peft:
            continue
        what = f"is {number(len(held))} adapters on a base" if held else "has whole weights"
        what = "is no adapter that PEFT knows" if len(held) == 1 else what
        yield error(
            "TL425",
            "no-adapter-to-export",
            f"`{stage.name}` exports an adapter, and `{start.name}` {what}",
            stage.span_of("format"),
            "no single adapter",
            others=(Label(start.span, what),),
            help="`format = safetensors` exports whole weights, adapters merged",
        )


RULES = (
    unseeded_sampling,
    choice_without_scores,
    too_few_replies,
    same_replies,
    cut_without_draw,
    judge_not_asked,
    merge_into_4bit,
    nothing_to_merge,
    export_in_few_bits,
    no_adapter_to_export,
)
