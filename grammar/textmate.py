"""The TextMate grammar that editors colour recipes with, made from `tune.lark`.

    python grammar/textmate.py

writes `vscode/syntaxes/tune.tmLanguage.json`. Terminals become patterns in the order in which the
lexer tries them; what a name is (kind, method, field, call) follows from what stands beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lark import Lark
from lark.lexer import TerminalDef

from tunelang.recipe.kinds import KINDS
from tunelang.syntax.lexer import is_word, ordered

HERE = Path(__file__).parent
TARGET = HERE / "vscode" / "syntaxes" / "tune.tmLanguage.json"

# terminal -> scope; the naming conventions are TextMate's (section 12.4 of its manual).
SCOPES = {
    "TUNE": "keyword.control",
    "IMPORT": "keyword.control.import",
    "AS": "keyword.control.import",
    "EXTENDS": "storage.modifier.extends",
    "TRUE": "constant.language.boolean",
    "FALSE": "constant.language.boolean",
    "NAME": "variable.other",
    "HASH": "constant.other.hash",
    "MONEY": "constant.numeric.money",
    "MEASURE": "constant.numeric.measure",
    "NUMBER": "constant.numeric",
    "STRING": "string.quoted.double",
    "TEXT": "string.quoted.triple",
    "CMP": "keyword.operator.comparison",
    "EQ": "keyword.operator.assignment",
    "COLON": "punctuation.separator.type",
    "COMMA": "punctuation.separator",
    "DOT": "punctuation.accessor",
    "LBRACE": "punctuation.section.block.begin",
    "RBRACE": "punctuation.section.block.end",
    "LPAR": "punctuation.section.arguments.begin",
    "RPAR": "punctuation.section.arguments.end",
    "LSQB": "punctuation.section.list.begin",
    "RSQB": "punctuation.section.list.end",
    "COMMENT": "comment.line.number-sign",
    "BAD_NUMBER": "invalid.illegal.number",
    "BAD_STRING": "invalid.illegal.string",
    "JUNK": "invalid.illegal.character",
    "BLANK": "",
}
DOCUMENTATION = "comment.line.documentation"
# What a name may be besides `variable.other`.
KIND = "storage.type"
DECLARED = "entity.name"
TYPE = "entity.name.type"
PARENT = "entity.other.inherited-class"
CALLED = "entity.name.function"
SECTION = "entity.name.section"
FIELD = "variable.other.member"
NOUN = "keyword.other.unit"
# Editors match line by line, so a terminal that may span lines is cut at its middle.
MIDDLE = "(.|\n)*?"
GAP = r"[ \t]*"


def terminals() -> list[TerminalDef]:
    """The terminals of `tune.lark`: reserved words, then the rest in the lexer's order."""
    text = (HERE / "tune.lark").read_text(encoding="utf-8")
    lark = Lark(text, start=["start", "item"], parser="lalr", lexer="basic")
    found = ordered(each for each in lark.terminals if each.name != "NEWLINE")
    return sorted(found, key=lambda each: not is_word(each))


def grammar() -> dict[str, Any]:
    """The whole TextMate grammar."""
    every = terminals()
    expressions = {each.name: each.pattern.to_regexp() for each in every}
    rules = [
        {"name": _scope(DOCUMENTATION), "match": f"#{expressions['COMMENT']}"},
        *_places(expressions["NAME"], "|".join([*KINDS, "every"])),
        *_nouns(expressions),
        *(_pattern(each) for each in every),
    ]
    return {
        "information_for_contributors": ["Made by grammar/textmate.py from grammar/tune.lark."],
        "name": "TuneLang",
        "scopeName": "source.tune",
        "fileTypes": ["tune"],
        "patterns": rules,
    }


def _pattern(terminal: TerminalDef) -> dict[str, Any]:
    expression = terminal.pattern.to_regexp()
    scope = SCOPES[terminal.name]
    if not scope:
        return {"match": expression}
    if MIDDLE in expression:
        begin, end = expression.split(MIDDLE)
        return {"name": _scope(scope), "begin": begin, "end": end}
    if is_word(terminal):
        expression = rf"\b{expression}\b"
    return {"name": _scope(scope), "match": expression}


def _places(name: str, kinds: str) -> Iterator[dict[str, Any]]:
    """What a name is, read off its neighbours; the first that fits wins."""
    start = r"(?<![\w.])"
    yield _groups(rf"{start}(defaults|every)[ \t]+({name})", KIND, KIND)
    yield _groups(rf"{start}({kinds})[ \t]+({name})(?={GAP}([:={{]|extends\b))", KIND, DECLARED)
    yield _groups(rf"\b(as)[ \t]+({name})", SCOPES["AS"], DECLARED)
    parent = (SCOPES["EXTENDS"], PARENT, SCOPES["DOT"], PARENT)
    yield _groups(rf"\b(extends)[ \t]+({name})(?:(\.)({name}))?", *parent)
    yield _groups(rf"(:){GAP}({name})", SCOPES["COLON"], TYPE)
    yield _groups(rf"({name})(?={GAP}\()", CALLED)
    yield _groups(rf"{start}(budget)(?={GAP}\{{)", KIND)
    yield _groups(rf"({name})(?={GAP}\{{)", SECTION)
    yield _groups(rf"({name})(?=(\.{name})*{GAP}=(?!=))", FIELD)


def _nouns(expressions: dict[str, str]) -> Iterator[dict[str, Any]]:
    """`2048 tokens`: the name after an amount is its unit."""
    for terminal in ("MEASURE", "NUMBER"):
        amount = expressions[terminal].replace("(", "(?:").replace("(?:?", "(?")
        match = rf"({amount})[ \t]+({expressions['NAME']})"
        yield _groups(match, SCOPES[terminal], NOUN)


def _groups(match: str, *scopes: str) -> dict[str, Any]:
    captures = {str(index): {"name": _scope(each)} for index, each in enumerate(scopes, 1)}
    return {"match": match, "captures": captures}


def _scope(name: str) -> str:
    return f"{name}.tune"


def text() -> str:
    """The grammar as the file holds it."""
    return json.dumps(grammar(), indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
