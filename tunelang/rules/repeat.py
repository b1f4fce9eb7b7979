"""Rules on reproducibility (TL8xx): what another person, machine or day would do differently."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Literal

from tunelang.catalog import tasks
from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, hint, replace, warning
from tunelang.recipe.model import Choice, Declared, Given, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import assignments, setting, without
from tunelang.rules.releases import inputs, public
from tunelang.rules.stages import recipe_of
from tunelang.source import Span
from tunelang.sources import hub_cache
from tunelang.syntax.tree import Assignment

COMMIT = re.compile(r"[0-9a-f]{7,40}")
ABSOLUTE = re.compile(r"/|~|[A-Za-z]:[\\/]")
PATHS = {
    "files": "glob",
    "folder": "path",
}  # variants that name a path, and the field that holds it


def hub(resolved: Resolved) -> Iterator[tuple[Declared, Choice]]:
    """Every model and data set that comes from the hub, and its place there where it is whole."""
    for declared in recipe_of(resolved).of_kind("model", "data").values():
        place = declared.get("from")
        whole = isinstance(place, Choice) and place.get("id") and place.get("revision")
        if whole and place.name == "hf":
            yield declared, place


def unpinned_revision(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL801: a branch moves."""
    for declared, place in hub(resolved):
        revision = place.get("revision")
        if not COMMIT.fullmatch(revision):
            yield warning(
                "TL801",
                "unpinned-revision",
                f"`{declared.name}` follows `{revision}`, which can move",
                declared.span_of("from"),
                "not a commit",
                help='write `revision = "COMMIT"` with the commit you have tested',
                fix=_pinned(declared, place),
            )


def _pinned(declared: Declared, place: Choice) -> Fix | None:
    """The commit that the branch had when it was downloaded. Revisions are in stage keys."""
    revision = place.values["revision"]
    kind: Literal["models", "datasets"] = "models" if declared.kind == "model" else "datasets"
    commit = hub_cache.commit(kind, place.get("id"), revision.value)
    if commit is None:
        return None
    if revision.span:
        return replace(revision.span, f'"{commit}"', safe=False)
    return _argument(declared.span_of("from"), f'revision = "{commit}"', safe=False)


def no_seed(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL803: a public release rests on a seed that nobody wrote down."""
    recipe = recipe_of(resolved)
    for publish in public(recipe):
        for stage in inputs(recipe, publish):
            seed = stage.values.get("seed")
            if stage.kind == "stage" and seed and seed.is_default:
                yield warning(
                    "TL803",
                    "no-seed",
                    f"`{publish.name}` is published, and the seed of `{stage.name}` is written "
                    "nowhere",
                    stage.span,
                    f"draws with the default, {seed.value}",
                    others=(Label(publish.span, "published here"),),
                    help=f"`seed = {seed.value}` keeps this run repeatable when a default changes",
                    fix=setting(stage, "seed", str(seed.value), safe=True),
                )


def local_path(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL804: an absolute path exists on one machine."""
    recipe = recipe_of(resolved)
    for declared in recipe.declared.values():
        for field, given in declared.values.items():
            path = _path(field, given)
            if path and path.span and ABSOLUTE.match(path.value):
                better = _relative(recipe, path)
                yield warning(
                    "TL804",
                    "local-path",
                    f"`{declared.name}` names a path that only one machine has",
                    path.span,
                    "an absolute path",
                    help="paths start at the recipe's folder",
                    fix=replace(path.span, f'"{better}"', safe=False),
                )


def _path(field: str, given: Given) -> Given | None:
    """The path that a value holds: a chat template's, or that of files or of a folder."""
    place = given.value
    if isinstance(place, Choice):
        return place.values.get(PATHS.get(place.name, ""))
    return given if field == "template" and isinstance(place, str) else None


def _relative(recipe: Recipe, path: Given) -> str:
    """From the recipe's folder where the path lies below it, else its last part alone."""
    assert path.span
    below = os.path.relpath(path.value, recipe.folder_of(path.span).resolve())
    last: str = re.split(r"[\\/]", path.value.rstrip("\\/"))[-1]
    return last if below.startswith("..") or not path.value.startswith("/") else below


def unversioned_benchmark(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL805: a gate without the benchmark's version."""
    recipe = recipe_of(resolved)
    checks = [check for stage in recipe.stages.values() for check in stage.checks if check.on]
    gates = {check.on.name: check for check in reversed(checks) if check.on}
    for name, check in gates.items():
        benchmark = recipe.declared.get(name)
        place = benchmark.get("from") if benchmark and benchmark.kind == "benchmark" else None
        if benchmark and place and place.get("task") and place.get("version") is None:
            known = tasks.version(place.get("task"))
            span = benchmark.span_of("from")
            yield warning(
                "TL805",
                "unversioned-benchmark",
                f"`{name}` is whatever `{place.get('task')}` is on the day it is measured",
                span,
                "no version",
                others=(Label(check.span, "decides here"),),
                help=f'write `version = "{known or "..."}"`, which the harness prints with results',
                fix=_argument(span, f'version = "{known}"', safe=True) if known else None,
            )


def _argument(call: Span, text: str, *, safe: bool) -> Fix | None:
    """`text` as the last argument of a call."""
    inside = call.text[:-1].rstrip()
    if not call.text.endswith(")"):
        return None
    at = call.start + len(inside)
    comma = "" if inside.endswith((",", "(")) else ","
    return Fix(f"add `{text}`", (Edit(Span(call.source, at, at), f"{comma} {text}"),), safe)


def batch_follows_machine(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL807: a profile changes the global batch of an otherwise whole run."""
    laid = _laid_over(resolved)
    for stage in recipe_of(resolved).stages.values():
        train = stage.values.get("train")
        if train and _changed(train, laid):
            continue  # a profile that trains less is a trial, and nobody compares its results
        for path in ("batch", "rollout.batch"):
            batch = stage.values.get(path)
            if batch and batch.span and _changed(batch, laid):
                yield _other_batch(resolved, stage, batch.span, undo=batch.span.text not in laid)


def _other_batch(resolved: Resolved, stage: Declared, batch: Span, *, undo: bool) -> Diagnostic:
    return warning(
        "TL807",
        "batch-follows-machine",
        f"profile `{recipe_of(resolved).profile}` gives `{stage.name}` another batch, so its "
        "results are not those of the recipe",
        batch,
        "another batch",
        others=(Label(stage.span, "changed here"),),
        help="`micro` is what fits a machine: it changes memory and speed, and no result",
        fix=_undo(resolved, batch) if undo else None,
    )


def _laid_over(resolved: Resolved) -> set[str]:
    """The names of `let` and `param` that the profile gives another value, and its other paths."""
    recipe, scope = recipe_of(resolved), resolved.scope
    assert scope is not None
    profiles = [each for each in scope.file.declarations() if each.kind.text == "profile"]
    items = [
        item for each in profiles if each.name.text == recipe.profile for item in each.items or ()
    ]
    return {item.path.text for item in items if isinstance(item, Assignment)}


def _changed(given: Given, laid: set[str]) -> bool:
    named = given.span is not None and given.span.text in laid
    return named or given.origin.startswith("profile ")


def _undo(resolved: Resolved, value: Span) -> Fix | None:
    assert resolved.scope is not None
    every = assignments(resolved.scope.file.items)
    item = next((each for each in every if each.value.span == value), None)
    return Fix("delete it", (without(item.span),), safe=False) if item else None


def nondeterministic_kernel(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL808: bit-equality was asked for and this kernel cannot give it."""
    for stage in recipe_of(resolved).stages.values():
        # FlashAttention's backward pass adds up gradients in the order in which blocks finish
        # (flash-attention README: `deterministic` is an option and off).
        if stage.get("deterministic") and stage.get("attention") == "flash":
            yield hint(
                "TL808",
                "nondeterministic-kernel",
                f"`{stage.name}` asks for the same bits every time, and `flash` adds up gradients "
                "in any order",
                stage.span_of("attention"),
                "not deterministic",
                others=(Label(stage.span_of("deterministic"), "asked for here"),),
                help="`attention = eager` gives the same bits, slower and with more memory",
                fix=setting(stage, "attention", "eager"),
            )


RULES = (
    unpinned_revision,
    no_seed,
    local_path,
    unversioned_benchmark,
    batch_follows_machine,
    nondeterministic_kernel,
)
