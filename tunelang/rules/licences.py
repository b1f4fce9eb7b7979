"""Rules on what may be trained on and given away: TL904, TL905, TL906, TL908 and TL912."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.catalog import licences
from tunelang.catalog.licences import Licence
from tunelang.diagnostic import Diagnostic, Label, error, hint, warning
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared
from tunelang.recipe.resolve import Resolved
from tunelang.rules.releases import inputs, public
from tunelang.rules.repeat import hub
from tunelang.rules.stages import recipe_of

OURS = ("inline", "scratch")  # written in the recipe, or made by it: nobody else's terms


def _place(declared: Declared) -> Choice | None:
    place = declared.get("from")
    return place if isinstance(place, Choice) else None


def no_licence(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL904: something without a stated licence goes into a public release."""
    recipe = recipe_of(resolved)
    for publish in public(recipe):
        for each in inputs(recipe, publish):
            place = _place(each)
            if place and place.name not in OURS and each.get("licence") is None:
                yield warning(
                    "TL904",
                    "no-licence",
                    f"`{publish.name}` gives away what came from `{each.name}`, whose licence is "
                    "not stated",
                    each.span,
                    "no licence",
                    others=(Label(publish.span, "published here"),),
                    help='write `licence = "..."` as its owner states it, or ask the owner',
                )


def licence_conflict(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL905: the release's terms contradict an input's."""
    recipe = recipe_of(resolved)
    for publish in recipe.of_kind("publish").values():
        release = licences.find(publish.get("licence") or "")
        for each in inputs(recipe, publish) if release else ():
            terms = licences.find(each.get("licence") or "")
            why = _conflict(release, terms, each) if release and terms else ""
            if why and terms:
                yield error(
                    "TL905",
                    "licence-conflict",
                    f"`{publish.name}` is released as {publish.get('licence')}, and `{each.name}` "
                    f"is {each.get('licence')}, {why}",
                    publish.span_of("licence"),
                    "promises more than it may",
                    others=(Label(each.span_of("licence"), "its owner's terms"),),
                    help=_way_out(terms, each),
                )


def _conflict(release: Licence, terms: Licence, made: Declared) -> str:
    """Why something under `terms` cannot be in a release, empty where it can."""
    if not terms.derivatives:
        return "from which nothing may be made and handed on"
    if not terms.commercial and release.commercial:
        return "which nobody may use commercially"
    # Whether weights are an adaptation of the rows is unsettled; of other weights they are one.
    if made.kind == "model" and terms.keep and release.name not in terms.keep:
        return "which stays on whatever is made from it"
    return ""


def _way_out(terms: Licence, made: Declared) -> str:
    keep = terms.keep or ((terms.name,) if terms.derivatives else ())
    use = f'release it as `licence = "{keep[0]}"`, or ' if keep else ""
    other = "other data" if made.kind == "data" else "another model"
    return f"{use}use {other}; the text is at {terms.source} (no legal advice)"


def trained_on_closed_output(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL906: the terms of who wrote the replies forbid training on them."""
    recipe = recipe_of(resolved)
    roots = [root for name in recipe.stages if (root := graph.root_of(recipe, name))]
    ids = [place.get("id") for root in roots if (place := _place(recipe.declared[root]))]
    owners = {str(each or "").partition("/")[0] for each in ids}
    for data in recipe.of_kind("data").values():
        written_by = data.get("written_by")
        writer = licences.writer(written_by) if written_by else None
        if writer and not (owners and owners <= set(writer.owners)):
            yield warning(
                "TL906",
                "trained-on-closed-output",
                f"`{data.name}` was written by {written_by}, and {writer.name}'s terms restrict "
                "training other models on it",
                data.span_of("written_by"),
                "terms on its output",
                help=f"read {writer.source}, or use rows of people or of an open model",
            )


def private_into_public(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL908: a public release depends on something private."""
    recipe = recipe_of(resolved)
    for publish in public(recipe):
        for each in inputs(recipe, publish):
            if each.kind in ("model", "data") and each.get("private"):
                yield error(
                    "TL908",
                    "private-into-public",
                    f"`{publish.name}` can be seen by anybody, and `{each.name}` is private",
                    publish.span_of("to"),
                    "public",
                    others=(Label(each.span_of("private"), "private"),),
                    help="models repeat what they were trained on: write `private = true` in the "
                    f"release, or train without `{each.name}`",
                )


def gated_model(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL912: access must be granted first."""
    for model, place in hub(resolved):
        if model.kind == "model" and licences.gated(place.get("id")):
            yield hint(
                "TL912",
                "gated-model",
                f"`{place.get('id')}` is downloaded only after its owner has granted access",
                model.span_of("from"),
                "gated",
                help=f"ask at https://huggingface.co/{place.get('id')} and log in with `hf auth "
                "login`, before the run",
            )


RULES = (no_licence, licence_conflict, trained_on_closed_output, private_into_public, gated_model)
