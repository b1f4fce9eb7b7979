"""Rules on what a stage teaches and hands over (TL511 to TL520)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Label, hint, replace, warning
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import setting
from tunelang.rules.stages import recipe_of, reference

# Names of attention's linear layers, over the families of the catalogue and older ones.
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj", "c_attn"}


def packing_leaks(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL511: only transformers' own code is known to keep packed rows apart by position ids."""
    recipe = recipe_of(resolved)
    for stage in recipe.stages.values():
        root = graph.root_of(recipe, stage.name)
        place: Choice | None = recipe.declared[root].get("from") if root else None
        if stage.get("packing") and root and place and place.get("trust_code"):
            yield warning(
                "TL511",
                "packing-leaks",
                f"`{stage.name}` packs rows, and the code of `{root}` may let them see each other",
                stage.span_of("packing"),
                "nobody has looked",
                others=(Label(recipe.declared[root].span, "brings its own attention"),),
                help="rows are kept apart by position ids, which such code is free to ignore",
                fix=setting(stage, "packing", "false"),
            )


def loss_on_prompt(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL512: the model is taught to write the questions too."""
    for stage in recipe_of(resolved).stages.values():
        if stage.get("loss_on") != "all" or stage.method is None:
            continue
        usual = stage.method.fields["loss_on"].default or ""
        yield hint(
            "TL512",
            "loss-on-prompt",
            f"`{stage.name}` learns to write the prompts as well as the replies",
            stage.span_of("loss_on"),
            "prompts too",
            help=f"`loss_on = {usual}` trains what the model will have to write",
            fix=setting(stage, "loss_on", usual),
        )


def attention_only_adapter(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL519: leaving out the MLP usually costs quality ("LoRA Without Regret", 2025)."""
    for stage in recipe_of(resolved).stages.values():
        weights: Choice | None = stage.get("weights")
        given = weights.values.get("targets") if weights else None
        targets = given.value if given else None
        if not given or not isinstance(targets, tuple) or not targets:
            continue
        if {target.rpartition(".")[2] for target in targets} <= ATTENTION:
            span = given.span or stage.span_of("weights")
            yield hint(
                "TL519",
                "attention-only-adapter",
                f"the adapter of `{stage.name}` leaves out the feed-forward layers",
                span,
                "attention only",
                help="`targets = all_linear` usually learns more at the same rate",
                fix=replace(span, "all_linear", safe=False) if given.span else None,
            )


def ungated_handover(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL520: a stage feeds the next one and nothing is asked of it."""
    recipe = recipe_of(resolved)
    taken = _takers(recipe)
    for stage in recipe.stages.values():
        takers = taken[stage.name]
        if takers and not stage.checks:
            yield hint(
                "TL520",
                "ungated-handover",
                f"`{takers[0].name}` goes on from `{stage.name}`, however that turns out",
                stage.span,
                "handed on unmeasured",
                others=(Label(takers[0].span, "starts from it"),),
                help=_gate(stage),
            )


def _takers(recipe: Recipe) -> dict[str, list[Declared]]:
    """By a stage's name those that start from it."""
    takers: dict[str, list[Declared]] = defaultdict(list)
    for other in recipe.stages.values():
        refs = [reference(other, role) for role in other.method.inputs] if other.method else []
        for name in dict.fromkeys(ref.name for ref in refs if ref and ref.name != other.name):
            takers[name].append(other)
    return takers


def _gate(stage: Declared) -> str:
    """A line that the stage's own method can measure."""
    judged = stage.product == "reward"
    line = "accuracy >= 65%" if judged else "loss < 2.0"
    if stage.method and line.split()[0] not in stage.method.metrics:
        line = "win_rate >= 55%"
    return f"a gate stops the run where it is not good enough: `gate {{ {line} }}`"


RULES = (packing_leaks, loss_on_prompt, attention_only_adapter, ungated_handover)
