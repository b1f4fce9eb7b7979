"""Pages that are generated: docs/cli.md from the commands, docs/rules/README.md from the rules,
docs/plan.schema.json from the plan, and the table of weights in docs/methods/README.md from the
methods.

    python docs/make.py

`tests/test_pages.py` fails while one of them is not current.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from tunelang.cli import COMMANDS, PLAIN
from tunelang.plan.document import code, table
from tunelang.plan.ir import Plan
from tunelang.recipe import kinds
from tunelang.recipe.schema import Method, Variant
from tunelang.rules.pages import Page, pages

HERE = Path(__file__).parent
MADE = "<!-- Made by docs/make.py: change the commands or the rules, then run it again. -->"
CLI = f"""# The commands

{MADE}

`tunelang --help` lists them, `tunelang COMMAND --help` says what is below. `--version` prints the
version. Findings go to stdout in `check` and to stderr elsewhere, so that what a command makes can
be piped.

Exit codes: 0 clean, 1 findings, 2 TuneLang itself failed or was called wrongly, 130 stopped by you.
`plan --exit-code` uses 2 for its own end, as its option says."""
RULES = f"""# The rules

{MADE}

Each rule has a page here, which `tunelang rule NAME` prints and which the tests execute. A safe fix
changes no stage key; `tunelang check --fix` applies those, `--fix --unsafe` all. What waits for a
method or feature of a later version has its page already and is not found yet.
[ground.tune](ground.tune) is what stands above the recipes of the pages."""
# The groups of the codes (language.md, section 6.2).
GROUPS = {
    "TL0": "Syntax",
    "TL1": "Names and references",
    "TL2": "Types and units",
    "TL3": "Data",
    "TL4": "Model, tokenizer, chat template",
    "TL5": "Method",
    "TL6": "Hyperparameters",
    "TL7": "Hardware and memory",
    "TL8": "Reproducibility",
    "TL9": "Safety, security, licence",
    "TS": "Style",
}
KINDS = {"STR": "TEXT", "INT": "NUMBER", "INTEGER": "NUMBER", "FLOAT": "NUMBER"}


def cli() -> str:
    """docs/cli.md: every command with its arguments and options."""
    rows = [(f"[{name}](#{name})", does) for name, does in COMMANDS.items()]
    sections = [part for name in COMMANDS for part in _command(name, _loaded(name))]
    summary = table(("command", "does"), rows)
    return "\n\n".join([CLI, summary, *sections]) + "\n"


def _loaded(name: str) -> Any:
    """The command as the command line builds it."""
    part = getattr(import_module(f"tunelang.cli.{name}"), name)
    if not isinstance(part, typer.Typer):
        one = typer.Typer(**PLAIN)
        one.command(name, help=COMMANDS[name])(part)
        part = one
    return typer.main.get_command(part)


def _command(name: str, command: Any, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {name.rpartition(' ')[2]}"
    yield (COMMANDS.get(name) or command.help or "").strip()
    inside = getattr(command, "commands", {})
    yield f"```console\n{_usage(name, command)}\n```"
    rows = [_row(each) for each in command.params]
    if rows:
        yield table(("argument", "meaning", "default"), rows)
    for each, sub in inside.items():
        yield from _command(f"{name} {each}", sub, level + 1)


def _usage(name: str, command: Any) -> str:
    """`tunelang check [OPTIONS] PATHS...`, whatever the width of the terminal."""
    words = ["tunelang", name]
    words += ["[OPTIONS]"] if any(each.opts[0].startswith("-") for each in command.params) else []
    words += [_argument(each) for each in command.params if not each.opts[0].startswith("-")]
    words += ["COMMAND"] if getattr(command, "commands", None) else []
    return " ".join(words)


def _argument(parameter: Any) -> str:
    word = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return word if parameter.required else f"[{word}]"


def _row(parameter: Any) -> tuple[str, str, str]:
    """How it is written, what it does, and what it is where nobody writes it."""
    if not parameter.opts[0].startswith("-"):
        return code(parameter.name.upper()), parameter.help or "", ""
    names = ", ".join(code(each) for each in [*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {code(_metavar(parameter))}"
    again = " (may repeat)" if parameter.multiple and "repeat" not in (parameter.help or "") else ""
    return names + value, (parameter.help or "") + again, _default(parameter)


def _default(parameter: Any) -> str:
    """A switch that is on says by which of its two names."""
    default = getattr(parameter.default, "value", parameter.default)
    if default is None or default is False:
        return ""
    return code(parameter.opts[0] if default is True else str(default))


def _metavar(parameter: Any) -> str:
    """The choices where there are some, else the kind of value."""
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return "|".join(str(getattr(each, "value", each)) for each in choices)
    kind = str(parameter.type.name).partition(" ")[0].upper()  # without its RANGE
    return str(parameter.metavar or KINDS.get(kind, kind))


def rules() -> str:
    """docs/rules/README.md: every page by group."""
    every = list(pages().values())
    waiting = sum(bool(each.waits) for each in every)
    parts = [RULES, f"{len(every)} rules, {waiting} of them waiting."]
    for start, title in GROUPS.items():
        group = [each for each in every if each.code.startswith(start)]
        if group:
            parts += [f"## {title}", _listed(group)]
    return "\n\n".join(parts) + "\n"


def _listed(group: Sequence[Page]) -> str:
    rows = [
        (
            each.code,
            f"[{each.name}]({each.name}.md)",
            str(each.severity),
            "" if each.fix == "no" else each.fix,
            each.waits,
        )
        for each in group
    ]
    return table(("code", "name", "severity", "fix", "waits for"), rows)


def methods() -> str:
    """docs/methods/README.md: written by hand, but for what `check` allows."""
    text = (HERE / "methods" / "README.md").read_text("utf-8")
    named = [f"`{kind}`" for kind in kinds.weights()]
    rows = [row for method in kinds.methods().values() for row in _weights(method)]
    made = f"\\1\n\n{table(('method', *named), rows)}\n\n\\2"
    return re.sub(r"(<!-- Made by .*? -->).*?(## What follows)", made, text, flags=re.DOTALL)


def _weights(method: Method) -> Iterator[tuple[str, ...]]:
    """The kinds of `weights` that a method, or each of its modes, can train."""
    modes = method.modes or {"": method}
    for mode, each in modes.items():
        field = each.fields.get("weights")
        if each.trains and field and isinstance(field.type, Variant):
            shapes = field.type.shapes
            marks = ("yes" if kind in shapes else "" for kind in kinds.weights())
            yield (f"`{method.name}` ({mode})" if mode else f"`{method.name}`", *marks)


def schema() -> str:
    """docs/plan.schema.json: what `tunelang plan --json` prints, as JSON Schema 2020-12."""
    told = Plan.model_json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A TuneLang plan"}
    return json.dumps({**told, **head}, indent=1, ensure_ascii=False) + "\n"


PAGES = {
    HERE / "plan.schema.json": schema,
    HERE / "cli.md": cli,
    HERE / "rules" / "README.md": rules,
    HERE / "methods" / "README.md": methods,
}


def main() -> None:
    """Write every page that changed."""
    for path, make in PAGES.items():
        text = make()
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
