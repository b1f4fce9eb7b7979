"""Rules on what could do harm: TL901, TL902, TL907, TL910 and TL911."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, error, replace, warning
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.recipe.names import Scope
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import added
from tunelang.rules.releases import inputs, public
from tunelang.rules.repeat import COMMIT, hub
from tunelang.source import Span
from tunelang.syntax.tree import Block

# Prefixes that the services themselves document for their tokens.
SECRET = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|ghp_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16})\b"
)
# Tasks of lm-evaluation-harness that measure harm: hate, toxicity, bias, falsehoods, dual use.
SAFETY = (
    "toxigen",
    "realtoxicityprompts",
    "truthfulqa",
    "bbq",
    "crows_pairs",
    "winogender",
    "hendrycks_ethics",
    "ethics",
    "wmdp",
)
MEASURE = 'benchmark toxigen = lm_eval("toxigen", version = "1.0")'


def secret_in_recipe(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL901: a token is in shared text."""
    assert resolved.scope is not None
    for token in resolved.scope.file.tokens:
        if token.kind in ("STRING", "TEXT") and SECRET.search(token.text):
            yield error(
                "TL901",
                "secret-in-recipe",
                "this looks like an access token",
                token.span,
                "a secret",
                help="delete it, revoke it, and log in with the service's own command",
            )


def runs_remote_code(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL902: `trust_code = true` without a pinned commit."""
    for declared, place in hub(resolved):
        trust = place.values.get("trust_code")
        if trust and trust.value and not COMMIT.fullmatch(place.get("revision")):
            yield error(
                "TL902",
                "runs-remote-code",
                f"`{declared.name}` would run whatever code its repository holds",
                declared.span_of("from"),
                "code that can change",
                help="pin `revision` to a commit whose code you have read",
                fix=replace(trust.span, "false", safe=False) if trust.span else None,
            )


def personal_data(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL907: flagged as personal and nothing is masked."""
    assert resolved.recipe is not None
    for data in resolved.recipe.of_kind("data").values():
        if data.get("personal") and not data.get("scrub"):
            yield warning(
                "TL907",
                "personal-data",
                f"the rows of `{data.name}` hold data about people, and nothing is masked",
                data.span_of("personal"),
                "about people",
                help="write what is masked, as `scrub = [emails, phones]`; models repeat what they "
                "have read",
            )


def no_safety_gate(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL910: published for anybody with no measure of harm."""
    recipe, scope = resolved.recipe, resolved.scope
    assert recipe is not None and scope is not None
    for publish in public(recipe):
        stages = [each for each in inputs(recipe, publish) if each.kind == "stage"]
        if stages and not any(_measures_harm(recipe, stage) for stage in stages):
            yield warning(
                "TL910",
                "no-safety-gate",
                f"`{publish.name}` is for anybody, and no gate measures what harm it could do",
                publish.span,
                "no measure of safety",
                others=(Label(stages[0].span, "the last stage"),),
                help=f"gate `{stages[0].name}` on a benchmark such as {', '.join(SAFETY[:3])}",
                fix=_gated(scope, stages[0], publish),
            )


def _measures_harm(recipe: Recipe, stage: Declared) -> bool:
    on = [recipe.declared.get(check.on.name) for check in stage.checks if check.on]
    places = [each.get("from") for each in on if each and each.kind == "benchmark"]
    return any((place.get("task") or "").startswith(SAFETY) for place in places if place)


def _gated(scope: Scope, stage: Declared, publish: Declared) -> Fix | None:
    """A benchmark below the release and a check of it in the stage's gate."""
    declaration, below = scope.names.get(stage.name), scope.names.get(publish.name)
    if declaration is None or below is None or "toxigen" in scope.names:
        return None
    blocks = [each for each in declaration.items or () if isinstance(each, Block)]
    gate = next((each.name.span for each in blocks if each.name.text == "gate"), None)
    check = "toxigen >= 50%"
    edit = added(gate, check) if gate else added(stage.span, f"gate {{ {check} }}")
    end = Span(below.span.source, below.span.end, below.span.end)
    edits = (edit, Edit(end, f"\n\n{MEASURE}")) if edit else ()
    return Fix(f"add `{check}`", edits, safe=False) if edits else None


def release_overwritten(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL911: the folder of a release holds something."""
    assert resolved.recipe is not None
    for publish in resolved.recipe.of_kind("publish").values():
        to = publish.get("to")
        if not (isinstance(to, Choice) and to.name == "folder" and to.get("path")):
            continue
        span = publish.span_of("to")
        folder = resolved.recipe.folder_of(span) / Path(to.get("path")).expanduser()
        if folder.is_dir() and any(folder.iterdir()):
            yield error(
                "TL911",
                "release-overwritten",
                f"`{to.get('path')}` is there already, and `{publish.name}` would replace it",
                span,
                "not empty",
                help="a release stays what it was: write a new name, or move the old one away",
            )


RULES = (secret_in_recipe, runs_remote_code, personal_data, no_safety_gate, release_overwritten)
