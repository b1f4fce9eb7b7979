"""The fields that every training method shares; a method changes defaults by name."""

from __future__ import annotations

from dataclasses import replace

from tunelang import registry
from tunelang.metrics import METRICS
from tunelang.recipe.schema import (
    ALL,
    Count,
    Field,
    Flag,
    Group,
    HowLong,
    ListOf,
    Number,
    Ratio,
    Reference,
    Symbol,
    Text,
    Variant,
    Whole,
)

WARMUP = Field(
    HowLong(("steps", "ratio"), none=True), "steps over which the rate rises from 0", "3%"
)
# More than 100% can be written, so that rule TL610 can say what is wrong with it.
FLOOR = Field(Ratio(most=10), "the rate the schedule ends at, as a share of lr", "0%")
# ULMFiT (arXiv 1801.06146), section 3.2: cut_frac = 0.1 and ratio = 32.
CUT = Field(Ratio(), "the share of the steps over which the rate rises", "10%")
RATIO = Field(Number(above=1), "lr is this many times the lowest rate", "32")

BEST = {"metric": Field(Symbol(("eval_loss", *METRICS)), "what is compared", "eval_loss")}
PATIENCE = Field(Whole(), "measurements without a better one before it stops", "3")
SCHEDULE = Variant(
    {
        "cosine": {"warmup": WARMUP, "floor": FLOOR},
        "linear": {"warmup": WARMUP, "floor": FLOOR},
        "constant": {"warmup": WARMUP},
        "slanted_triangular": {"cut": CUT, "ratio": RATIO},
    }
)


# What stages start from and read; a stage that makes rows may stand where a data set may.
LM = Reference(("model", "stage"), ("lm",))
DATA = Reference(("data", "mix", "stage"), ("data",))


def weights(*names: str) -> Variant:
    """What may stand in `weights`: the kinds named, else full, lora and qlora."""
    kinds = {kind.name: kind for kind in registry.parts("weights", "WEIGHTS")}
    chosen = names or ("full", "lora", "qlora")
    return Variant({name: kinds[name].fields for name in chosen})


def supervised() -> dict[str, Field]:
    """What may train where a model is shown what to write: some of its layers or experts, too."""
    kinds = weights("full", "lora", "qlora", "layers", "experts")
    return {"weights": Field(kinds, "what trains", "full")}


def running() -> dict[str, Field]:
    """What a stage that trains nothing needs to run."""
    shared = optimisation()
    names = ("precision", "seed", "on", "micro", "attention", "deterministic")
    return {name: shared[name] for name in names}


def fields(noun: str, **defaults: str) -> dict[str, Field]:
    """The shared fields, with a method's own defaults in place of ours."""
    shared = {
        "weights": Field(weights(), "what trains", "full"),
        "train": Field(HowLong(("epochs", "steps", "tokens")), "how long it trains", "1 epoch"),
        "batch": Field(
            Count(tuple(dict.fromkeys((noun, "sequences", "tokens")))),
            "what one update sees",
            f"32 {noun}",
        ),
        "length": Field(
            Count(("tokens",)), "longest row in tokens; longer ones are cut", "1024 tokens"
        ),
        **vocabulary(),
        **optimisation(),
    }
    return _with_defaults(shared, defaults)


def optimisation(**defaults: str) -> dict[str, Field]:
    """How weights move and where the stage runs: shared by every method that trains."""
    shared = {
        "lr": Field(Number(above=0, most=10), "peak learning rate", "2e-5"),
        "schedule": Field(SCHEDULE, "how the learning rate moves", "cosine(warmup = 3%)"),
        "optimizer": Field(
            Symbol(("adamw", "adamw_8bit", "paged_adamw_8bit")), "the optimizer", "adamw"
        ),
        "weight_decay": Field(Number(least=0, most=1), "decay of matrices, not of norms", "0"),
        "max_grad_norm": Field(Number(above=0), "gradients are clipped to this norm", "1.0"),
        "precision": Field(
            Symbol(("bf16", "fp32", "fp8")),
            "number format of the computation",
            "bf16",
            later=("fp8",),
        ),
        "seed": Field(Whole(least=0), "seed of every random choice", "0"),
        **_kernels(),
        "keep": Field(
            Variant({"last": {}, "best": BEST}), "which weights are kept", "last", later=("best",)
        ),
        "stop": Field(
            Variant({"end": {}, "early": {**BEST, "patience": PATIENCE}}),
            "when training stops",
            "end",
            later=("early",),
        ),
        "on": Field(
            Reference(("hardware",)), "where it runs; else this machine", optional=True, key=False
        ),
        "micro": Field(
            Count(("sequences", "pairs", "lists", "episodes")),
            "rows a device holds at once; planned from memory unless given",
            optional=True,
            key=False,
        ),
        "checkpointing": Field(
            Symbol(("auto", "always", "never")),
            "activations are computed twice to save memory; planned from memory unless given",
            "auto",
            key=False,
        ),
        "eval_every": Field(
            HowLong(("steps", "ratio")), "how often held-out rows are measured", "25%", key=False
        ),
        "save_every": Field(
            HowLong(("steps", "ratio")), "how often a checkpoint is written", "20%", key=False
        ),
    }
    return _with_defaults(shared, defaults)


def _kernels() -> dict[str, Field]:
    """How the computation is carried out, and how devices share it."""
    return {
        "attention": Field(
            Symbol(("sdpa", "flash", "eager")),
            "attention kernel",
            "sdpa",
            key=False,
            later=("flash", "eager"),
        ),
        "deterministic": Field(
            Flag(), "only kernels that give the same bits every time", "false", later=("true",)
        ),
        "parallel": Field(Group(_parallel()), "how devices share the work"),
    }


def _parallel() -> dict[str, Field]:
    """Over how many devices each part is split, and what each of them holds."""
    sizes = {
        "data": Field(
            Whole(), "devices that read other rows; all of them", optional=True, key=False
        ),
        **{
            name: Field(Whole(), f"devices that {what}", optional=True, key=False, later=ALL)
            for name, what in (
                ("tensor", "share each layer's matrices"),
                ("pipeline", "hold other layers"),
            )
        },
    }
    return {
        **sizes,
        "sharding": Field(
            Symbol(("auto", "ddp", "zero1", "zero2", "zero3", "fsdp2")),
            "what each device holds; planned from memory and time unless given",
            "auto",
            key=False,
        ),
        "offload": Field(
            Symbol(("auto", "none", "optimizer", "all")),
            "what waits in the memory beside the GPUs; planned unless given",
            "auto",
            key=False,
        ),
    }


def vocabulary() -> dict[str, Field]:
    """Changes to the tokenizer, and how far positions are stretched."""
    factor = {"factor": Field(Number(above=1), "positions are this many times as many")}
    return {
        "new_tokens": Field(
            ListOf(Text()), "tokens added to the vocabulary", optional=True, later=ALL
        ),
        "pad": Field(Text(), "the padding token; else the tokenizer's", optional=True, later=ALL),
        "eos": Field(Text(), "the end token; else the tokenizer's", optional=True, later=ALL),
        "scaling": Field(
            Variant({"none": {}, "linear": factor, "yarn": factor}),
            "how positions beyond the model's are made",
            "none",
            later=("linear", "yarn"),
        ),
    }


def tokens() -> dict[str, Field]:
    """Changes to the tokenizer, for the methods whose workers make them."""
    return {name: replace(vocabulary()[name], later=()) for name in ("new_tokens", "pad", "eos")}


TEMPLATE = Field(
    Text(),
    'chat template: "chatml", "llama3", or a .jinja file; else the model\'s own',
    optional=True,
)
PACKING = Field(Flag(), "several rows in one sequence, kept apart by position ids", "false")


def _with_defaults(shared: dict[str, Field], defaults: dict[str, str]) -> dict[str, Field]:
    changed = {name: replace(shared[name], default=text) for name, text in defaults.items()}
    return {**shared, **changed}
