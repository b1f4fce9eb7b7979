"""What is said in the editor of words that no field documents: kinds, variants, types."""

from __future__ import annotations

from functools import cache

from tunelang import registry
from tunelang.recipe.quantities import describe
from tunelang.recipe.schema import Group, Rows, Type
from tunelang.units import BYTES, COUNTS, NOUNS, SECONDS

# One line for each kind of language.md section 3.1.
KINDS = {
    "let": "a value with a name",
    "param": "a value with a type that the command line may set: `--param name=value`",
    "model": "weights to start from",
    "data": "rows to train or measure on",
    "mix": "several data sets in shares",
    "hardware": "a machine, found or rented",
    "budget": "the most that the recipe may cost, in money and time",
    "defaults": "values for every declaration of a kind",
    "stage": "one step of training or measuring; its method stands behind the colon",
    "benchmark": "a published task that models are measured on",
    "sweep": "the same recipe at several values",
    "profile": "overrides for one place: `--profile name`",
    "publish": "where a finished model goes",
    "every": "overrides for every declaration of a kind",
    "import": "the declarations of another file under a name",
    "extends": "takes every value of another declaration that is not written here",
    "gate": "what must hold when the stage ends",
    "axes": "the paths that are varied, and their values",
}


@cache
def variant_docs() -> dict[str, str]:
    """What variants are, where their module says so."""
    weights = {kind.name: kind.doc for kind in registry.parts("weights", "WEIGHTS")}
    return weights | {kind.name: kind.doc for kind in registry.parts("sources.places", "SOURCE")}


def takes(wanted: Type) -> str:
    """What a field takes, as the messages of rules say it."""
    if isinstance(wanted, Group):
        return f"a block of {', '.join(wanted.fields)}"
    return "a list of rows" if isinstance(wanted, Rows) else describe(wanted)


def unit(word: str) -> str:
    """What a unit or noun behind a number means."""
    if word in NOUNS or f"{word}s" in NOUNS:
        return f"a number of {word if word in NOUNS else f'{word}s'}"
    if word in BYTES:
        return f"{BYTES[word]:,} bytes" if word != "B" else "billion"
    if word in COUNTS:
        return f"times {COUNTS[word]:,}"
    if word in SECONDS:
        return f"{SECONDS[word]:,} seconds" if word != "s" else "seconds"
    return "a share of one hundred" if word == "%" else ""
