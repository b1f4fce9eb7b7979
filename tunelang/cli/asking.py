"""What is wrong with the options of `tunelang estimate`: every finding, none raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tunelang.diagnostic import Diagnostic, error, warning
from tunelang.estimate.asked import ADAPTERS, METHODS, OPTIMIZERS, POLICIES

if TYPE_CHECKING:
    from tunelang.plan.named import Named

WORDS: dict[str, tuple[str, ...]] = {
    "method": tuple(METHODS),
    "optimizer": OPTIMIZERS,
    "weights": ("full", "lora", "qlora", "dora", "layers", "experts"),
    "loss": ("plain", "chunked", "fused"),
    "precision": ("bf16", "fp32"),
    "masters": ("fp32", "none"),
    "sharding": ("none", "ddp", "zero1", "zero2", "zero3", "fsdp2"),
    "offload": ("none", "optimizer", "all"),
}
POSITIVE = ("rank", "last", "length", "micro", "accumulate", "gpus", "nodes")


OWN = ("full", "layers")
# Options that only some questions take: what they are of, and whether it was asked for.
ONLY: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "rank": ("adapters", lambda asked: asked["weights"] in ADAPTERS),
    "targets": ("adapters", lambda asked: asked["weights"] in ADAPTERS),
    "share": ("`--weights experts`", lambda asked: asked["weights"] == "experts"),
    "last": ("`--weights layers`", lambda asked: asked["weights"] == "layers"),
    "masters": ("weights of the model itself", lambda asked: asked["weights"] in OWN),
    "reply": ("policies", lambda asked: asked["method"] in POLICIES),
}


def without_effect(given: dict[str, Any]) -> Iterator[Diagnostic]:
    """Options that change nothing of what was asked, before any default is filled in."""
    for name, (whose, counts) in ONLY.items():
        if given[name] is not None and not counts(given):
            message = f"`--{name}` is of {whose}, and changes nothing here"
            yield warning("TL117", "override-without-effect", message, None)
    # DeepSpeed on one device has its masters, buffers and offload, and nothing to share out.
    if given["sharding"] in WORDS["sharding"][1:] and given["gpus"] * given["nodes"] == 1:
        message = f"`--sharding {given['sharding']}` shares nothing out: there is one device"
        help = "say how many there are: `--gpus N`"
        yield warning("TL117", "override-without-effect", message, None, help=help)


def unknown(code: str, name: str, what: str, word: str, known: tuple[str, ...]) -> Diagnostic:
    from tunelang.recipe.names import nearest

    guess = nearest(word, known)
    every = "`tunelang gpus` lists them" if what == "GPU" else f"there are {', '.join(known)}"
    help = f"did you mean `{guess}`?" if guess else every
    return error(code, name, f"no {what} named `{word}` is in the catalogue", None, help=help)


def words(options: dict[str, Any]) -> Iterator[Diagnostic]:
    from tunelang.catalog import stacks

    for name, words in WORDS.items():
        if options[name] not in words:
            help = f"it is one of {', '.join(words)}"
            message = f"`--{name} {options[name]}` is not known"
            yield error("TL210", "not-one-of", message, None, help=help)
    if options["stack"] not in stacks.names():
        yield unknown("TL101", "unknown-name", "stack", options["stack"], stacks.names())


def numbers(options: dict[str, Any]) -> Iterator[Diagnostic]:
    for name in POSITIVE:
        if options[name] < 1:
            yield _range(f"`--{name} {options[name]}` is no count", "it is 1 or more")
    if not 0 < options["share"] <= 1:
        yield _range(f"`--share {options['share']:g}` is no share", "it is above 0, at most 1")
    if options["method"] in POLICIES and not 1 <= options["reply"] < options["length"]:
        message = f"a reply of {options['reply']} tokens leaves no prompt, or is none"
        yield _range(message, f"a row has {options['length']} tokens")


def _range(message: str, help: str) -> Diagnostic:
    return error("TL206", "out-of-range", message, None, help=help)


def together(options: dict[str, Any]) -> Iterator[Diagnostic]:
    """Options that do not go with each other."""
    from tunelang.estimate import able

    sharding, offload = options["sharding"], options["offload"]
    if options["gpus"] * options["nodes"] > 1 and sharding == "none":
        yield _range("several devices share a step in some way", "name one with `--sharding`")
    if sharding in WORDS["sharding"] and offload in WORDS["offload"]:
        can = able.offloads(sharding)
        if offload not in can:
            yield _range(f"`{sharding}` offloads {' or '.join(can)}, not `{offload}`", "")


def targets(options: dict[str, Any], model: Named) -> Iterator[Diagnostic]:
    """Layers that the model does not have, and experts of a model that has none."""
    from tunelang.estimate.parameters import dense_linears, linears

    a = model.architecture
    if options["weights"] == "experts" and a.experts is None:
        yield _range(f"`{a.name}` has no experts to train", "its config.json names none")
    if options["weights"] == "layers" and options["last"] > a.layers:
        yield _range(f"`{a.name}` has {a.layers} layers, not {options['last']}", "")
    if options["targets"] == "all_linear":
        return
    there = tuple({**linears(a), **dense_linears(a)})
    for name in options["targets"].split(","):
        if name not in there:
            yield unknown("TL101", "unknown-name", "layer", name, there)
