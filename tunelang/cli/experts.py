"""`tunelang experts`: which experts of a mixture a task uses, from scores on a disk."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunelang.cli.planning import leave, show_findings
from tunelang.diagnostic import Diagnostic, error
from tunelang.estimate.experts import MASS, Scores, Selection, config, kept, scores_of, select


class Score(StrEnum):
    TOKEN = "token"
    GATE = "gate"


def experts(
    scores: Annotated[
        Path, typer.Argument(help="expert_scores.json, or the authors' summary.json.")
    ],
    score: Annotated[Score, typer.Option(help="Which score chooses.")] = Score.TOKEN,
    mass: Annotated[
        str | None,
        typer.Option(help="Share of a layer's score to keep, 0.2 or 20%; else 20%, 10% of gates."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write DeepSeek's expert config here.")
    ] = None,
) -> None:
    """Choose the experts that a task uses most from scores, layer by layer, without a model.

    Prints how many of each layer train and what share of its score they bear. A stage takes the
    file that `--output` writes: `weights = experts(config = "FILE.json")`.
    """
    found = _read(scores, str(score))
    chosen = select(found, MASS[score] if mass is None else _share(mass))
    if output:
        _write(output, chosen)
    sys.stdout.write("".join(f"{line}\n" for line in table(chosen, found)))
    if output:
        sys.stdout.write(f"written to {output}\n")


def _share(text: str) -> float:
    """`0.2` and `20%` as a share; what is none ends the command."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        said = f"--mass {text} is no share"
        _stop(error("TL206", "out-of-range", said, None, help="0.2 or 20% keeps a fifth"))
    return share


def _stop(found: Diagnostic) -> None:
    show_findings([found])
    leave([found])


def _write(path: Path, chosen: Selection) -> None:
    """DeepSeek's expert config; a place that cannot be written ends the command."""
    try:
        path.write_text(json.dumps(config(chosen)) + "\n", encoding="utf-8")
    except OSError as problem:
        message = f"`{path}` cannot be written: {problem.strerror}"
        _stop(error("TL538", "unreadable-experts", message, None))


def _read(path: Path, score: str) -> Scores:
    """The scores of a file; what is wrong with it ends the command."""
    try:
        return scores_of(json.loads(path.read_text(encoding="utf-8")), score)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        if isinstance(problem, json.JSONDecodeError | UnicodeDecodeError):
            reason = "it is no JSON"
        help = "an esft stage leaves `expert_scores.json` in the store, see `tunelang store`"
        message = f"`{path}` cannot be read as expert scores: {reason}"
        _stop(error("TL538", "unreadable-experts", message, None, help=help))
        raise typer.Exit(1) from problem


def table(chosen: Selection, scores: Scores) -> list[str]:
    """A line for each layer: how many train, what they bear, and which they are."""
    bear = kept(chosen, scores)
    lines = ["layer  experts    score  which"]
    for layer, picked in chosen.items():
        part = f"{len(picked)}/{len(scores[layer])}"
        which = " ".join(map(str, picked))
        lines.append(f"{layer:>5}  {part:>7}  {bear[layer]:>6.1%}  {which}")
    train, whole = sum(map(len, chosen.values())), sum(map(len, scores.values()))
    mean = train / len(chosen)
    lines.append(f"{train} of {whole} experts train ({train / whole:.1%}), {mean:.2f} a layer")
    return lines
