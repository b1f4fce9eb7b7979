"""A recipe as Markdown: what it makes, from what, how, and what it must pass.

Only what the recipe says goes in, never the machine, so that the page can be kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tunelang.plan.graph import mermaid
from tunelang.plan.ir import Plan
from tunelang.recipe.model import Choice, Declared, Given, Recipe, Ref
from tunelang.recipe.names import Scope
from tunelang.recipe.show import literal
from tunelang.units import number

Row = Sequence[str]
UNNAMED = ("id", "glob", "package", "file")  # arguments of places that go without their name
# What a stage's table says of how it trains, in the order in which people ask.
TRAINING = ("weights", "train", "batch", "length", "lr", "schedule", "template", "on")


def document(recipe: Recipe, scope: Scope, plan: Plan) -> str:
    """The whole page."""
    name = Path(recipe.source.name).stem
    parts = [f"# {name}", introduction(recipe.source.text)]
    if recipe.profile:
        parts.append(f"Values are those of the profile `{recipe.profile}`.")
    if plan.steps:
        parts += ["## Stages", f"```mermaid\n{mermaid(plan)}```", _stages(recipe)]
    parts += [_notes(recipe), *_gates(recipe), *_sources(recipe), *_mixes(recipe)]
    parts += [*_params(scope), *_places(recipe), *_published(recipe), *_variants(recipe, scope)]
    return "\n\n".join(part for part in parts if part) + "\n"


def introduction(text: str) -> str:
    """The `##` lines at the head of the file, where an empty line parts them from what follows."""
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    lines = lines[1:] if lines and lines[0].startswith("tune") else lines
    while lines and not lines[0]:
        lines.pop(0)
    length = next((i for i, line in enumerate(lines) if not line.startswith("##")), len(lines))
    if length < len(lines) and lines[length]:
        return ""
    return "\n".join(line.removeprefix("##").strip() for line in lines[:length])


def _stages(recipe: Recipe) -> str:
    used = [
        field for field in TRAINING if any(field in each.values for each in recipe.stages.values())
    ]
    rows = [
        (
            code(each.name),
            each.method.name.replace("_", " ") if each.method else "",
            ", ".join(_inputs(each)),
            *(_value(each.values.get(field)) for field in used),
        )
        for each in recipe.stages.values()
    ]
    return table(("stage", "method", "from", *used), rows)


def _inputs(stage: Declared) -> Iterator[str]:
    """What a stage reads: models and data, by their roles where the role is not plain."""
    for path, given in stage.values.items():
        if isinstance(given.value, Ref) and given.value.kind != "hardware":
            name = code(literal(given.value))
            yield (
                name
                if path in ("model", "data", "prompts")
                else f"{name} as {path.replace('.', ' ')}"
            )


def _notes(recipe: Recipe) -> str:
    """What `##` lines say of the stages."""
    said = [(each.name, each.doc) for each in recipe.stages.values() if each.doc]
    return "\n".join(f"- {code(name)}: {' '.join(doc.split())}" for name, doc in said)


def _gates(recipe: Recipe) -> Iterator[str]:
    rows = [
        (code(each.name), code(check.span.text), "" if each.enforce else "reported only")
        for each in recipe.stages.values()
        for check in each.checks
    ]
    if rows:
        yield "## Gates"
        yield table(("stage", "must hold", ""), rows)


def _sources(recipe: Recipe) -> Iterator[str]:
    for kind, title, fields in (
        ("model", "Models", ("from", "licence")),
        ("data", "Data", ("from", "format", "rows", "limit", "hold_out", "licence")),
    ):
        declared = list(recipe.of_kind(kind).values())
        used = [field for field in fields if any(field in each.values for each in declared)]
        rows = [
            (code(each.name), *(_value(each.values.get(field)) for field in used), each.doc)
            for each in declared
        ]
        if rows:
            yield f"## {title}"
            yield table((kind, *(field.replace("_", " ") for field in used), ""), rows)


def _mixes(recipe: Recipe) -> Iterator[str]:
    mixes = recipe.of_kind("mix").values()
    if mixes:
        yield "## Mixes"
    for mix in mixes:
        shares = (
            f"{number(share.value * 100)}% {code(literal(part))}" for part, share in mix.parts
        )
        yield f"{code(mix.name)} is {', '.join(shares)}." + (f" {mix.doc}" if mix.doc else "")


def _params(scope: Scope) -> Iterator[str]:
    params = [each for each in scope.file.declarations() if each.kind.text == "param"]
    rows = [
        (
            code(each.name.text),
            each.type.text if each.type else "",
            code(each.value.span.text) if each.value else "",
            each.doc,
        )
        for each in params
    ]
    if rows:
        yield "## Params"
        yield table(("param", "type", "default", ""), rows)


def _places(recipe: Recipe) -> Iterator[str]:
    hardware = recipe.of_kind("hardware").values()
    lines = [f"- {code(each.name)}: {_inside(each.values)}" for each in hardware]
    if recipe.budget:
        lines.append(f"- budget: {_inside(recipe.budget)}")
    if lines:
        yield "## Hardware and budget"
        yield "\n".join(lines)


def _published(recipe: Recipe) -> Iterator[str]:
    lines = [
        f"- {code(each.name)}: {_inside(each.values)}"
        for each in recipe.of_kind("publish").values()
    ]
    if lines:
        yield "## Published"
        yield "\n".join(lines)


def _variants(recipe: Recipe, scope: Scope) -> Iterator[str]:
    """Sweeps and profiles, as they are written."""
    for kind, title in (("sweep", "Sweeps"), ("profile", "Profiles")):
        every = [each for each in scope.file.declarations() if each.kind.text == kind]
        if every:
            yield f"## {title}"
        for each in every:
            sweep = recipe.sweeps.get(each.name.text) if kind == "sweep" else None
            yield each.doc
            yield f"{code(sweep.name)} has {len(sweep.points())} points." if sweep else ""
            yield f"```tune\n{each.span.text}\n```"


def _inside(values: Mapping[str, Given]) -> str:
    return ", ".join(f"{path} {_value(given)}" for path, given in values.items())


def _value(given: Given | None) -> str:
    if given is None:
        return ""
    if given.span and given.span.text.endswith("%"):
        return code(given.span.text)
    return code(_choice(given.value) if isinstance(given.value, Choice) else literal(given.value))


def _choice(choice: Choice) -> str:
    """A variant as a person writes it: no defaults, the place first, rows counted."""
    if choice.name == "inline":
        return f"inline({len(choice.get('rows'))} rows)"
    written = {
        path: literal(given.value) for path, given in choice.values.items() if not given.is_default
    }
    first = [written.pop(path) for path in UNNAMED if path in written]
    inner = ", ".join([*first, *(f"{path} = {text}" for path, text in written.items())])
    return f"{choice.name}({inner})" if inner else choice.name


def code(text: str) -> str:
    """A code span; text that holds backticks needs more of them round it."""
    fence = "`"
    while fence in text:
        fence += "`"
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def table(head: Row, rows: Sequence[Row]) -> str:
    """A table of GitHub's Markdown without its empty columns.

    Only | and line ends mean something to a cell.
    """
    kept = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
    every = [(first, "---", *cells) for first, *cells in kept]
    lines = zip(*every, strict=True)
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
