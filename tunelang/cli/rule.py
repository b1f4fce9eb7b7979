"""`tunelang rule`: the page of a rule, or the list of all rules."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tunelang.rules.pages import Page

CODE = re.compile(r"TL\d{3}|TS\d{2}")


def rule(
    name: Annotated[
        str | None, typer.Argument(help="Its name or code; without one all rules are listed.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the page of a rule."""
    from tunelang.rules.pages import page, pages

    if name is None:
        every = list(pages().values())
        rows = [_facts(each) for each in every]
        sys.stdout.write(dumps(rows, indent=2, ensure_ascii=False) + "\n" if json else _list(every))
        return
    found = page(name.lower()) or page(name.upper())
    if found is None:
        _unknown(name)
    elif json:
        facts = {**_facts(found), "text": found.text}
        sys.stdout.write(dumps(facts, indent=2, ensure_ascii=False) + "\n")
    else:
        print_pages([found])


def print_pages(wanted: Iterable[Page]) -> None:
    """Pages set for a terminal; as they are written where the output goes elsewhere."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join(each.text for each in wanted))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    for each in wanted:
        Console().print(Markdown(each.text, code_theme="ansi_dark"))


def _facts(page: Page) -> dict[str, Any]:
    return {
        "code": page.code,
        "name": page.name,
        "severity": str(page.severity),
        "fix": None if page.fix == "no" else page.fix,
        "waits_for": page.waits or None,
        "summary": page.summary,
    }


def _list(every: list[Page]) -> str:
    """`TL202  error    unsafe fix  wrong-dimension`, one a line in the order of the codes."""
    lines = []
    for each in every:
        fix = "" if each.fix == "no" else f"{each.fix} fix"
        waits = f"  waits for {each.waits}" if each.waits else ""
        lines.append(f"{each.code:<6} {each.severity:<8} {fix:<11} {each.name}{waits}\n")
    return "".join(lines)


def _unknown(name: str) -> None:
    from tunelang.cli.planning import leave, show_findings
    from tunelang.diagnostic import error

    message = f"no rule is called `{name}`"
    found = [error("TL101", "unknown-name", message, None, help=_advice(name))]
    show_findings(found)
    leave(found)


def _advice(name: str) -> str:
    """A guess; a whole code is no slip of the pen but what a run or a command said."""
    from tunelang.recipe.names import did_you_mean, nearest
    from tunelang.rules.pages import pages

    if CODE.fullmatch(name.upper()):
        return "what runs and commands find has no page; `tunelang rule` lists what has one"
    every = pages()
    guess = nearest(name, [*every, *(each.code.lower() for each in every.values())])
    named = guess if guess is None or guess in every else guess.upper()
    return did_you_mean(named) or "`tunelang rule` lists all rules"
