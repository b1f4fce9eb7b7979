"""What a file declares at its top that no kind knows, and defaults that nothing takes."""

from __future__ import annotations

from tunelang.diagnostic import Edit, Fix, error, replace
from tunelang.recipe import kinds
from tunelang.recipe.layers import Layer, Written, flatten
from tunelang.recipe.names import Scope, did_you_mean, nearest
from tunelang.recipe.settle import Work, defaults
from tunelang.recipe.typed import Owner, flat, typed
from tunelang.source import Span
from tunelang.syntax.tree import Block, Declaration


def known_kind(declaration: Declaration, work: Work) -> None:
    kind = declaration.kind
    if kind.text in kinds.KINDS:
        return
    if kind.text in kinds.methods():
        work.found.append(
            error(
                "TL103",
                "unknown-kind",
                f"`{kind.text}` is a method, not a kind",
                kind.span,
                "a method",
                help=f"write `stage {declaration.name.text}: {kind.text} {{ ... }}`",
                fix=_as_stage(declaration),
            )
        )
        return
    guess = nearest(kind.text, kinds.KINDS)
    fix = replace(kind.span, guess, safe=False) if guess else None
    work.found.append(
        error(
            "TL103",
            "unknown-kind",
            f"`{kind.text}` is not a kind of declaration",
            kind.span,
            "not a kind",
            help=did_you_mean(guess) or f"kinds are {', '.join(kinds.KINDS)}",
            fix=fix,
        )
    )


def _as_stage(declaration: Declaration) -> Fix:
    """`sft chat {` becomes `stage chat: sft {`."""
    kind, end = declaration.kind, declaration.name.span.end
    behind = Edit(Span(kind.span.source, end, end), f": {kind.text}")
    title = f"write stage {declaration.name.text}: {kind.text}"
    return Fix(title, (Edit(kind.span, "stage"), behind), safe=False)


def known_block(block: Block, work: Work) -> None:
    if block.name.text == "budget":
        return
    needs_name = block.name.text in kinds.KINDS
    guess = nearest(block.name.text, kinds.KINDS)
    help = f"write `{block.name.text} NAME {{ ... }}`" if needs_name else did_you_mean(guess)
    message = (
        f"`{block.name.text}` has no name"
        if needs_name
        else f"`{block.name.text}` is not a kind of declaration"
    )
    fix = replace(block.name.span, guess, safe=False) if guess and not needs_name else None
    label = "not a declaration"
    work.found.append(
        error("TL103", "unknown-kind", message, block.name.span, label, help=help, fix=fix)
    )


def check_value(declaration: Declaration, scope: Scope, work: Work) -> None:
    """A param has a type and fits it; a let is read wherever it is used."""
    if declaration.value is None:
        work.found.append(
            error(
                "TL006",
                "missing-value",
                f"`{declaration.name.text}` has no value",
                declaration.name.span,
                "no value",
            )
        )
    if declaration.kind.text == "let" or declaration.value is None:
        return
    wanted = declaration.type
    if wanted is None or wanted.text not in kinds.PARAM_TYPES:
        listed = ", ".join(kinds.PARAM_TYPES)
        span = wanted.span if wanted else declaration.name.span
        work.found.append(
            error(
                "TL201",
                "wrong-type",
                f"param `{declaration.name.text}` needs a type",
                span,
                "no such type" if wanted else "has no type",
                help=f"types are {listed}",
            )
        )
        return
    name = declaration.name.text
    value = work.overrides.values.get(scope.full(name), declaration.value)
    fields = {name: kinds.PARAM_TYPES[wanted.text]}
    layer = Layer({name: Written(value, declaration.name.span, f"param {name}", scope)})
    typed(layer, Owner(fields, f"param `{name}`", "", declaration.name.span), work.reading(scope))


def unknown_defaults(scope: Scope, work: Work) -> None:
    """TL102: a field of `defaults KIND` or `every KIND` that no declaration of the kind has."""
    for each in scope.file.declarations():
        if each.kind.text == "defaults":
            flatten(each.items or (), "", scope, work.found)
            if each.name.text not in kinds.WITH_FIELDS:
                guess = nearest(each.name.text, kinds.WITH_FIELDS)
                work.found.append(
                    error(
                        "TL103",
                        "unknown-kind",
                        f"there is no kind `{each.name.text}`",
                        each.name.span,
                        "not a kind",
                        help=did_you_mean(guess),
                        fix=replace(each.name.span, guess, safe=False) if guess else None,
                    )
                )
                continue
            layer = defaults(each.name.text, scope)
            _nobody_has(each.name.text, layer, scope, work)
    for kind, layers in work.overrides.every.items():
        for layer in layers:
            _nobody_has(kind, layer, scope, work)


def _nobody_has(kind: str, layer: Layer, scope: Scope, work: Work) -> None:
    if kind == "stage":
        known = {
            key: each
            for method in kinds.methods().values()
            for key, each in flat(method.fields).items()
        }
        known["gate.enforce"] = known["lr"]
    else:
        known = flat(kinds.fields(kind))
    for path, written in layer.values.items():
        head = path.rpartition(".")[0]
        if path in known or head in known:
            continue
        guess = nearest(path, known)
        work.found.append(
            error(
                "TL102",
                "unknown-field",
                f"no {kind} has a field `{path}`",
                written.span,
                "would be ignored",
                help=did_you_mean(guess),
                fix=replace(written.span, guess, safe=False) if guess else None,
            )
        )
