"""Sweeps: axes of values, and the points they make. Every point is an ordinary recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunelang.diagnostic import Diagnostic, error
from tunelang.recipe import kinds
from tunelang.recipe.layers import Layer, Written, flatten
from tunelang.recipe.model import Axis, Sweep
from tunelang.recipe.names import Scope
from tunelang.recipe.overrides import nothing
from tunelang.recipe.settle import Work
from tunelang.recipe.typed import Owner, typed
from tunelang.syntax.tree import Declaration, ListValue

AXES = "axes."


def read_sweeps(scope: Scope, work: Work) -> dict[str, Sweep]:
    """The sweeps of the recipe's own file; axes of nothing are TL116."""
    found = (d for d in scope.file.declarations() if d.kind.text == "sweep")
    return {each.name.text: _sweep(each, scope, work) for each in found}


def _sweep(declaration: Declaration, scope: Scope, work: Work) -> Sweep:
    name = declaration.name.text
    layer = flatten(declaration.items or (), f"sweep {name}", scope, work.found)
    own = {path: w for path, w in layer.values.items() if not path.startswith(AXES)}
    owner = Owner(
        kinds.fields("sweep"), f"sweep `{name}`", "default of sweep", declaration.name.span
    )
    values = typed(Layer(own), owner, work.reading(scope))
    written = {p.removeprefix(AXES): w for p, w in layer.values.items() if p not in own}
    axes = tuple(_axes(written, scope, work))
    sweep = Sweep(name, declaration.name.span, axes, values)
    _same_length(sweep, work)
    if not written:
        work.found.append(_no_axes(sweep))
    return sweep


def _axes(written: Mapping[str, Written], scope: Scope, work: Work) -> Iterator[Axis]:
    for path, each in written.items():
        if scope.is_broken(path):
            continue
        if scope.look_up(path) is None:
            work.found.append(nothing(each.span, path, scope))
        elif not isinstance(each.value, ListValue) or not each.value.values:
            work.found.append(
                error(
                    "TL201",
                    "wrong-type",
                    f"the axis `{path}` is not a list of values",
                    each.value.span,
                    "not a list",
                    help=f"write `{path} = [{each.value.span.text}, ...]`",
                )
            )
        else:
            yield Axis(path, each.span, each.value.values)


def _same_length(sweep: Sweep, work: Work) -> None:
    mode = sweep.get("mode")
    lengths = {len(axis.values) for axis in sweep.axes}
    if mode is None or mode.name != "list" or len(lengths) < 2:
        return
    counts = ", ".join(f"`{axis.path}` has {len(axis.values)}" for axis in sweep.axes)
    work.found.append(
        error(
            "TL201",
            "wrong-type",
            f"the lists of `{sweep.name}` are not equally long: {counts}",
            sweep.span,
            "a point takes one value of each list",
            help="make the lists equally long, or write `mode = grid`",
        )
    )


def _no_axes(sweep: Sweep) -> Diagnostic:
    return error(
        "TL501",
        "missing-input",
        f"sweep `{sweep.name}` varies nothing",
        sweep.span,
        "has no axes",
        help="write `axes { chat.lr = [1e-5, 2e-5] }`",
    )
