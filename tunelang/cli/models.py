"""`tunelang models`: the catalogue of models."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tunelang.catalog.models import Model
    from tunelang.estimate.parameters import Architecture

HEAD = ("model", "parameters", "active", "context", "licence", "template", "family")
NUMBERS = HEAD[1:4]
GIB = 2**30


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="A hub id, or words that entries must have; else all are listed."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the catalogue of models, or all that is known of one.

    A config.json in the hub's cache or in a model folder wins over what is printed here.
    """
    from tunelang.catalog import models as catalog

    name = " ".join(words or [])
    one = catalog.find(name) if name else None
    chosen = [one] if one else [model for model in catalog.every() if _has(model, words or [])]
    if not chosen:
        _unknown(name)
    if json:
        facts = [_facts(model) for model in chosen]
        sys.stdout.write(dumps(facts[0] if one else facts, indent=2) + "\n")
    else:
        sys.stdout.write(_entry(chosen[0]) if len(chosen) == 1 else _table(chosen))


def _has(model: Model, words: Sequence[str]) -> bool:
    text = " ".join((model.id, model.family, model.licence, model.template)).lower()
    return all(word.lower() in text for word in words)


def _known(model: Model) -> Architecture:
    from tunelang.estimate.config import from_config

    known = from_config(model.config, model.id)
    assert known is not None, model.id  # every family of the catalogue is counted
    return known


def _table(chosen: Sequence[Model]) -> str:
    from tunelang.cli.columns import columns
    from tunelang.estimate.parameters import active_count, count

    rows = []
    for model in chosen:
        known = _known(model)
        active = _billions(active_count(known)) if known.experts else ""
        size, context = _billions(count(known)), _context(model)
        row = (model.id, size, active, context, model.licence, model.template, model.family)
        rows.append(row)
    return columns(HEAD, rows, right=NUMBERS)


def _billions(parameters: float) -> str:
    """As people say it: `8.03B`, `135M`."""
    if parameters < 1e9:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e9:.0f}B" if parameters >= 1e11 else f"{parameters / 1e9:.3g}B"


def _context(model: Model) -> str:
    """In units of 1,024 tokens where it is a number of them."""
    return f"{model.context // 1024}k" if model.context % 1024 == 0 else str(model.context)


def _entry(model: Model) -> str:
    from tunelang.cli.columns import entry

    return entry(model.id, _lines(model))


def _lines(model: Model) -> Iterator[tuple[str, str]]:
    from tunelang.estimate.parameters import count, linears

    known = _known(model)
    yield (
        "parameters",
        f"{count(known):,}{_active(known)}, {count(known) * 2 / GIB:.1f} GiB in bf16",
    )
    yield "built as", ", ".join(_shape(known, model.family))
    yield "context", f"{model.context:,} tokens{_window(known)}"
    experts = " (all_linear: and every expert)" if known.experts else ""
    yield "targets", ", ".join(linears(known)) + experts
    yield "template", model.template or "none: it was not tuned to talk"
    yield "licence", model.licence + _terms(model)
    yield "note", model.note
    yield "the same", ", ".join(model.alike)
    yield "in a recipe", f'hf("{model.id}", revision = "...", licence = "{model.licence}")'
    yield "source", model.source + _stated(model)


def _active(known: Architecture) -> str:
    from tunelang.estimate.parameters import active_count, vision_count

    if known.vision:
        return f", {vision_count(known):,} of them to see pictures"
    return f", {active_count(known):,} a token" if known.experts else ""


def _shape(a: Architecture, family: str) -> Iterator[str]:
    yield family
    yield f"{a.layers} layers {a.hidden} wide"
    yield f"{a.heads} heads" + (f" and {a.kv_heads} for keys" if a.kv_heads != a.heads else "")
    if a.experts:
        shared = " and a shared one" if a.experts.shared else ""
        yield f"{a.experts.active} of {a.experts.count} experts{shared} {a.experts.ffn} wide"
    else:
        yield f"feed-forwards {a.ffn} wide"
    yield f"{a.vocab:,} tokens{', tied' if a.tied else ''}"


def _window(a: Architecture) -> str:
    if not a.windowed or a.window >= a.positions:
        return ""
    which = "every layer sees" if a.windowed == a.layers else f"{a.windowed} layers see"
    return f", {which} the last {a.window:,}"


def _terms(model: Model) -> str:
    """What licences.toml says of it, and whether the hub asks first."""
    from tunelang.catalog import licences

    known = licences.find(model.licence)
    said = [] if known else ["not judged"]
    if known and not known.commercial:
        said.append("no commercial use")
    if licences.gated(model.id):
        said.append("agreed to on the hub before it can be downloaded")
    return f" ({', '.join(said)})" if said else ""


def _stated(model: Model) -> str:
    if model.stated is None:
        return ""
    return f"; states {model.stated:,.0f}" if model.exact else f"; states {_billions(model.stated)}"


def _facts(model: Model) -> dict[str, Any]:
    from tunelang.estimate.parameters import active_count, count, linears

    known = _known(model)
    return {
        "id": model.id,
        "family": model.family,
        "parameters": count(known),
        "active_parameters": active_count(known),
        "context": model.context,
        "licence": model.licence,
        "template": model.template or None,
        "stated": model.stated,
        "note": model.note,
        "targets": list(linears(known)),
        "alike": list(model.alike),
        "config": model.config,
        "source": model.source,
    }


def _unknown(name: str) -> None:
    from tunelang.catalog import models as catalog
    from tunelang.cli.planning import leave, show_findings
    from tunelang.diagnostic import error
    from tunelang.recipe.names import did_you_mean, nearest

    every = catalog.names()
    known = {each.lower(): each for each in every}
    known |= {each.rpartition("/")[2].lower(): each for each in reversed(every)}
    guess = nearest(name.lower(), known)
    help = did_you_mean(known[guess] if guess else None) or "`tunelang models` lists all of them"
    message = f"no model `{name}` is in the catalogue"
    found = [error("TL101", "unknown-name", message, None, help=help)]
    show_findings(found)
    leave(found)
