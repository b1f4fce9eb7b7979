"""A recipe that is open in an editor: its text, its tree, and what is known of its meaning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tunelang.diagnostic import Diagnostic
from tunelang.plan.findings import of_scope
from tunelang.plan.ir import Plan, Step
from tunelang.recipe.load import load_source
from tunelang.recipe.model import Declared
from tunelang.recipe.names import Scope
from tunelang.recipe.overrides import Settings
from tunelang.recipe.resolve import Resolved, resolve_scope
from tunelang.rules import check
from tunelang.rules.allow import allowed
from tunelang.source import Source
from tunelang.syntax.again import Parser
from tunelang.syntax.tree import File, Token

PARSER = Parser()  # of every open recipe
# Hints that read the whole text: asked when typing pauses.
SLOW = ("not_formatted", "redundant_default", "repeated_literal", "commented_out_item")
LATE = "TS06"  # an unused `allow`: known only when the plan's rules have run


@dataclass(frozen=True)
class Document:
    """`plan` may be that of an older text; what it says is looked up by a stage's name."""

    source: Source
    scope: Scope
    text_found: list[Diagnostic]
    found: list[Diagnostic]
    resolved: Resolved
    plan: Plan | None = None

    @property
    def file(self) -> File:
        return self.scope.file

    @property
    def tokens(self) -> tuple[Token, ...]:
        return self.scope.file.tokens

    @property
    def own(self) -> list[Diagnostic]:
        """What is found in this very text; imported files report their own."""
        return [each for each in self.found if each.at and _is(each.at.span.source, self.source)]

    def declared(self, name: str) -> Declared | None:
        recipe = self.resolved.recipe
        return recipe.declared.get(name) if recipe else None

    def step(self, name: str) -> Step | None:
        steps = self.plan.steps if self.plan else []
        return next((step for step in steps if step.name == name), None)


def _is(one: Source, other: Source) -> bool:
    return one is other or one.name == other.name


def read(source: Source, folder: Path, before: Document | None = None) -> Document:
    """The document after its text changed: names, types and rules, but no plan yet."""
    scope, text_found = load_source(source, folder, PARSER.parse)
    resolved = resolve_scope(scope, list(text_found), Settings())
    found = [each for each in allowed(resolved, check(resolved, SLOW)) if each.code != LATE]
    return Document(source, scope, text_found, found, resolved, before.plan if before else None)


def unchecked(source: Source, folder: Path) -> Document:
    """The document by its syntax and names alone, where checking it fails."""
    scope, found = load_source(source, folder, PARSER.parse)
    return Document(source, scope, found, found, Resolved(None, found, scope))


def planned(document: Document) -> Document:
    """The same document with every profile checked and its plan made: the slow half."""
    found = of_scope(document.scope, document.text_found)
    resolved = found.resolved or document.resolved
    plan = found.plan or document.plan
    return replace(document, found=found.found, resolved=resolved, plan=plan)
