"""`tunelang gpus`: the catalogue of GPUs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tunelang.catalog.gpus import Gpu

TERA, GIGA, GIB = 1e12, 1e9, 2**30
HEAD = ("GPU", "GB", "usable GiB", "bf16", "fp16", "fp8", "GB/s", "link", "built as", "for")
NUMBERS = HEAD[1:7]
UNITS = "bf16, fp16, fp8: 10^12 dense operations a second; GB/s: of memory\n"


def gpus(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="A name, or words that entries must have; else all are listed."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, in bytes and FLOP/s.")] = False,
) -> None:
    """Print the catalogue of GPUs, or all that is known of one."""
    from tunelang.catalog import gpus as catalog

    name = " ".join(words or [])
    one = catalog.find(name) if name else None
    chosen = [one] if one else [gpu for gpu in catalog.every() if _has(gpu, words or [])]
    if not chosen:
        _unknown(name)
    if json:
        facts = [_facts(gpu) for gpu in chosen]
        sys.stdout.write(dumps(facts[0] if one else facts, indent=2) + "\n")
    else:
        sys.stdout.write(_entry(chosen[0]) if len(chosen) == 1 else _table(chosen))


def _has(gpu: Gpu, words: Sequence[str]) -> bool:
    text = " ".join((gpu.name, *gpu.aliases, gpu.architecture, gpu.kind, gpu.vendor, gpu.by))
    return all(word.lower() in text.lower() for word in words)


def _table(chosen: Sequence[Gpu]) -> str:
    from tunelang.cli.columns import columns

    rows = [
        (
            gpu.name,
            f"{gpu.memory / GIGA:.0f}",
            f"{gpu.usable / GIB:.1f}",
            _tera(gpu.flops) if gpu.bf16 else "-",
            _tera(gpu.flops),
            _tera(gpu.fp8_flops) if gpu.fp8 else "-",
            f"{gpu.bandwidth / GIGA:,.0f}",
            _link(gpu),
            f"{gpu.architecture} {gpu.capability}",
            gpu.kind,
        )
        for gpu in chosen
    ]
    return columns(HEAD, rows, right=NUMBERS) + UNITS


def _tera(flops: float) -> str:
    """To three digits, and whole from 100 on."""
    return f"{flops / TERA:.0f}" if flops >= 100 * TERA else f"{flops / TERA:.3g}"


def _link(gpu: Gpu) -> str:
    return f"{gpu.by.partition(',')[0]} ({gpu.link / GIGA:.0f})"


def _entry(gpu: Gpu) -> str:
    from tunelang.cli.columns import entry

    return entry(gpu.name, _lines(gpu))


def _lines(gpu: Gpu) -> Iterator[tuple[str, str]]:
    target = "target" if gpu.vendor == "amd" else "compute capability"
    yield "built as", f"{gpu.architecture}, {target} {gpu.capability}, for {_place(gpu)}"
    yield "memory", f"{gpu.memory / GIGA:.0f} GB printed, {gpu.usable / GIB:.1f} GiB usable"
    yield "bandwidth", f"{gpu.bandwidth / GIGA:,.0f} GB/s"
    sixteen = "bf16 and fp16" if gpu.bf16 else "fp16"
    yield "dense", f"{_tera(gpu.flops)} TFLOP/s in {sixteen}{_eight(gpu)}"
    yield "link", f"{gpu.by}: {gpu.link / GIGA:.0f} GB/s a direction between cards of a node"
    can = {"bf16": gpu.bf16, "fp8": gpu.fp8, "flash attention 2": gpu.flash}
    lacks = [name for name, has in can.items() if not has]
    yield "has", ", ".join(name for name, has in can.items() if has)
    yield "has no", ", ".join(lacks)
    yield "note", gpu.note
    yield "also called", ", ".join(gpu.aliases)
    yield "in a recipe", f'hardware pod {{ gpu = "{gpu.name}", count = 8 }}'
    yield "source", gpu.source


def _eight(gpu: Gpu) -> str:
    return f", {_tera(gpu.fp8_flops)} in fp8" if gpu.fp8 else ""


def _place(gpu: Gpu) -> str:
    return {"data centre": "data centres", "workstation": "workstations"}.get(gpu.kind, "consumers")


def _facts(gpu: Gpu) -> dict[str, Any]:
    return {
        "name": gpu.name,
        "aliases": list(gpu.aliases),
        "vendor": gpu.vendor,
        "architecture": gpu.architecture,
        "capability": gpu.capability,
        "kind": gpu.kind,
        "memory_bytes": gpu.memory,
        "usable_bytes": gpu.usable,
        "bf16_flops": gpu.flops if gpu.bf16 else None,
        "fp16_flops": gpu.flops,
        "fp8_flops": gpu.fp8_flops or None,
        "bandwidth": gpu.bandwidth,
        "link": gpu.link,
        "link_kind": gpu.by,
        "flash_attention_2": gpu.flash,
        "note": gpu.note,
        "source": gpu.source,
    }


def _unknown(name: str) -> None:
    from tunelang.catalog import gpus as catalog
    from tunelang.cli.planning import leave, show_findings
    from tunelang.diagnostic import error
    from tunelang.recipe.names import did_you_mean, nearest

    known = {alias.lower(): alias for gpu in catalog.every() for alias in (gpu.name, *gpu.aliases)}
    guess = nearest(name.lower(), known)
    help = did_you_mean(known[guess] if guess else None) or "`tunelang gpus` lists all of them"
    message = f'no GPU named "{name}" is in the catalogue'
    found = [error("TL713", "unknown-accelerator", message, None, help=help)]
    show_findings(found)
    leave(found)
