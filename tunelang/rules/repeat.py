"""Rules on reproducibility and safety (TL8xx, TL9xx) that this version can see."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, error, warning
from tunelang.recipe.model import Choice, Declared
from tunelang.recipe.resolve import Resolved

COMMIT = re.compile(r"[0-9a-f]{7,40}")
# Prefixes that the services themselves document for their tokens.
SECRET = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|ghp_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16})\b"
)


def _hub(resolved: Resolved) -> Iterator[tuple[Declared, Choice]]:
    assert resolved.recipe is not None
    for declared in resolved.recipe.of_kind("model", "data").values():
        place = declared.get("from")
        if isinstance(place, Choice) and place.name == "hf":
            yield declared, place


def unpinned_revision(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL801: a branch moves."""
    for declared, place in _hub(resolved):
        revision = place.get("revision")
        if not COMMIT.fullmatch(revision):
            yield warning(
                "TL801",
                "unpinned-revision",
                f"`{declared.name}` follows `{revision}`, which can move",
                declared.span_of("from"),
                "not a commit",
                help='write `revision = "COMMIT"` with the commit you have tested',
            )


def runs_remote_code(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL902: `trust_code = true` without a pinned commit."""
    for declared, place in _hub(resolved):
        if place.get("trust_code") and not COMMIT.fullmatch(place.get("revision")):
            yield error(
                "TL902",
                "runs-remote-code",
                f"`{declared.name}` would run whatever code its repository holds",
                declared.span_of("from"),
                "code that can change",
                help="pin `revision` to a commit",
            )


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


RULES = (unpinned_revision, runs_remote_code, secret_in_recipe)
