"""Rules on names and references (TL1xx) that need the whole recipe."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import (
    Diagnostic,
    Edit,
    Fix,
    Label,
    Severity,
    error,
    warning,
)
from tunelang.recipe import graph
from tunelang.recipe.model import Declared, Recipe
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.resolve import Resolved
from tunelang.recipe.schema import Either, Reference, Type
from tunelang.recipe.typed import flat
from tunelang.source import Span

PRODUCTS = {
    "lm": "a language model",
    "reward": "a reward model",
    "classifier": "a classifier",
    "prompted": "a model with examples in its prompt",
    "data": "rows",
    "metrics": "figures",
    "export": "a folder for other tools",
    None: "nothing",
}


ROWS = Reference(("data", "stage"), ("data",))


def wrong_stage_kind(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL115: a stage whose product does not fit the input."""
    recipe = resolved.recipe
    assert recipe is not None
    for stage in recipe.stages.values():
        assert stage.method is not None
        known = flat(stage.method.fields)
        for path, ref, span in stage.references():
            wanted = _named(known[path].type) if path in known else None
            made = recipe.declared.get(ref.name)
            if not (isinstance(wanted, Reference) and wanted.products):
                continue
            if made and made.kind == "stage" and made.product not in wanted.products:
                yield _wrong_stage(stage, (path, span), made, (recipe, wanted))
    for mix in recipe.of_kind("mix").values():
        for path, ref, span in mix.references():
            made = recipe.declared.get(ref.name)
            if made and made.kind == "stage" and made.product != "data":
                yield _wrong_stage(mix, (path, span), made, (recipe, ROWS))


def _named(expected: Type) -> Type:
    """What a name may stand for: of several types, the one that is a reference."""
    kinds = expected.types if isinstance(expected, Either) else ()
    return next((kind for kind in kinds if isinstance(kind, Reference)), expected)


def _wrong_stage(
    stage: Declared, where: tuple[str, Span], made: Declared, context: tuple[Recipe, Reference]
) -> Diagnostic:
    path, span = where
    recipe, wanted = context
    assert made.method is not None
    fits = [n for n, s in recipe.stages.items() if s.product in wanted.products and s is not stage]
    makes = PRODUCTS[made.product]
    needs = " or ".join(PRODUCTS[product] for product in wanted.products)
    guess = nearest(made.name, fits) or (fits[0] if len(fits) == 1 else None)
    return error(
        "TL115",
        "wrong-stage-kind",
        f"`{stage.name}.{path}` needs {needs}, and `{made.name}` makes {makes}",
        span,
        f"must make {needs}",
        others=(Label(made.span, f"made by {made.method.name.replace('_', ' ')} here"),),
        help=did_you_mean(guess),
    )


def reference_cycle(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL107: a stage would need itself."""
    assert resolved.recipe is not None
    names = graph.circle(resolved.recipe)
    if not names or _is_own_reference(resolved.recipe, names):
        return
    stages = [resolved.recipe.declared[name] for name in names[:-1]]
    others = tuple(Label(stage.span, "on the way round") for stage in stages[1:])
    yield error(
        "TL107",
        "reference-cycle",
        f"stage `{names[0]}` would need itself: {' → '.join(names)}",
        stages[0].span,
        "needs itself",
        others=others,
    )


def _is_own_reference(recipe: Recipe, names: list[str]) -> bool:
    """Whether a stage needs itself as its reference alone: that is TL503."""
    stage = recipe.declared[names[0]]
    own = {path for path, ref, _ in stage.references() if ref.name == stage.name}
    return len(names) == 2 and own == {"reference"}


def unused_declaration(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL108: declared, never reached from a stage."""
    recipe, scope = resolved.recipe, resolved.scope
    assert recipe is not None and scope is not None
    if not recipe.stages:
        return  # a file of parts to import
    roots = [*recipe.stages, *recipe.of_kind("publish")]
    reached = {name for root in roots for name in graph.reachable(recipe, root)} | resolved.used
    reached |= _under_other_profiles(recipe, scope)
    parents = {d.extends.text for d in scope.file.declarations() if d.extends}
    for name, declaration in scope.names.items():
        kind = declaration.kind.text
        if kind in ("stage", "publish", "sweep") or scope.full(name) in reached or name in parents:
            continue
        if kind not in ("let", "param") and name not in recipe.declared:
            continue
        fix = Fix(f"delete `{name}`", (Edit(declaration.span, ""),), safe=False)
        yield warning(
            "TL108",
            "unused-declaration",
            f"{kind} `{name}` is never used",
            declaration.name.span,
            "unused",
            help="delete it, or name it in a stage",
            fix=fix,
        )


def _under_other_profiles(recipe: Recipe, scope: Scope) -> set[str]:
    """Words that count as uses because of profiles: those that other profiles write, and under a
    profile those that it may have replaced."""
    if recipe.profile:
        own = {declaration.name.span for declaration in scope.names.values()}
        return {token.text for token in scope.file.tokens if token.span not in own}
    profiles = [each.span for each in scope.file.declarations() if each.kind.text == "profile"]
    return {
        token.text
        for token in scope.file.tokens
        if any(span.start <= token.span.start < span.end for span in profiles)
    }


def unused_import(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL109: nothing of an imported file is used."""
    recipe, scope = resolved.recipe, resolved.scope
    assert recipe is not None and scope is not None
    for alias, (item, _) in scope.imports.items():
        uses = [t for t in scope.file.tokens if t.text == alias and t.span != item.alias.span]
        if not uses:
            fix = Fix("delete the import", (Edit(item.span, ""),), safe=True)
            yield warning(
                "TL109",
                "unused-import",
                f"nothing of `{alias}` is used",
                item.alias.span,
                "unused",
                fix=fix,
            )


def unreachable_stage(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL118: a stage without a gate that no other stage uses, in a recipe with several ends."""
    recipe = resolved.recipe
    assert recipe is not None
    users = recipe.of_kind("stage", "publish").values()
    used = {name for user in users for name in graph.needs(recipe, user)}
    used |= {axis.path.split(".")[0] for sweep in recipe.sweeps.values() for axis in sweep.axes}
    ends = [stage for stage in recipe.stages.values() if stage.name not in used]
    for stage in ends[:-1]:
        if not stage.checks:
            yield Diagnostic(
                "TL118",
                "unreachable-stage",
                Severity.HINT,
                f"no gate or later stage uses `{stage.name}`",
                Label(stage.span, "ends here"),
            )


RULES = (
    wrong_stage_kind,
    reference_cycle,
    unused_declaration,
    unused_import,
    unreachable_stage,
)
