"""The command line. Each command is a module of its own, imported only when it is called."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# name -> one line for `tunelang --help`; the module tunelang.cli.NAME holds a function NAME.
COMMANDS = {
    "check": "Find every mistake in recipes, without torch, network or GPU.",
    "fmt": "Print recipes in the one house style.",
    "show": "Print what a recipe means: every value and where it comes from.",
    "plan": "Say what would run: steps, memory, time, cost, and what is reused.",
    "estimate": "Say what one training step needs, without a recipe.",
    "probe": "Measure three steps on this machine; later plans use what was measured.",
    "graph": "Draw the stages as Mermaid, DOT or SVG.",
    "why": "Say where a value comes from, or why a stage will run.",
    "diff": "Say what changed between two recipes: values, and stages renamed, changed, reused.",
    "rule": "Print the page of a rule.",
    "new": "Write a recipe that checks clean, from a template.",
    "docs": "Print a recipe as Markdown.",
    "lock": "Write down what a recipe means today: imports, revisions, data, templates.",
    "freeze": "Write the hashes of imports into the recipe itself.",
    "lsp": "Serve editors: diagnostics, hover, completion, fixes.",
    "fetch": "Download the files that a recipe imports from the hub.",
    "run": "Run a recipe; the same command goes on after any interruption.",
    "chat": "Talk to what a stage made.",
    "generate": "Let what a stage made answer prompts.",
    "experts": "Choose the experts of a mixture that a task uses most, from their scores.",
    "gpus": "Print the catalogue of GPUs, or all that is known of one.",
    "models": "Print the catalogue of models, or all that is known of one.",
    "doctor": "Say what this machine can run, and what mends it.",
    "store": "List, verify and clean the store of finished stages.",
}
PLAIN: dict[str, Any] = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
}
OURS = "\nThis is a mistake of TuneLang, not yours. Please report it with the lines above.\n"


class Lazy(TyperGroup):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _command(name: str) -> Any:
    part = getattr(import_module(f"tunelang.cli.{name}"), name)
    if isinstance(part, typer.Typer):
        return typer.main.get_command(part)
    return _as_command(name, part)


def _as_command(name: str, function: Any) -> Any:
    one = typer.Typer(**PLAIN)
    one.command(name, help=COMMANDS[name], short_help=COMMANDS[name])(function)
    return typer.main.get_command(one)


app = typer.Typer(cls=Lazy, no_args_is_help=True, **PLAIN)


@app.callback()
def about() -> None:
    """Write, check, plan and run the fine-tuning of language models: one file for the whole stack.

    Exit codes: 0 clean, 1 findings, 2 TuneLang itself failed, 130 stopped by you.
    """


def main() -> None:
    """The console script."""
    gc.disable()  # a command is over before its garbage matters, and collecting costs a tenth
    if sys.argv[1:2] == ["--version"]:
        from tunelang import __version__

        sys.stdout.write(f"tunelang {__version__}\n")
        return
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception:
        import traceback

        traceback.print_exc()
        sys.stderr.write(OURS)
        sys.exit(2)
