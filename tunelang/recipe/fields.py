"""The fields of every kind of declaration but `stage`, whose fields are its method's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunelang import registry
from tunelang.recipe.schema import (
    ALL,
    Count,
    Either,
    Field,
    Flag,
    HowLong,
    ListOf,
    Measure,
    MetricOf,
    Number,
    Ratio,
    Reference,
    SourceKind,
    Symbol,
    Text,
    Variant,
    Whole,
)

LICENCE = Field(Text(), "the licence its owner states", optional=True)
PRIVATE = Field(Flag(), "nothing that depends on it may be published openly", "false")
ROWS = Count(("rows",))
PERSONAL = ("emails", "phones", "names", "addresses")


def _sources(gives: str) -> Variant:
    kinds: tuple[SourceKind, ...] = registry.parts("sources.places", "SOURCE")
    return Variant({kind.name: kind.fields for kind in kinds if gives in kind.gives})


def _model() -> Mapping[str, Field]:
    return {
        "from": Field(_sources("model"), "where the weights come from"),
        "licence": LICENCE,
        "private": PRIVATE,
    }


def _data() -> Mapping[str, Field]:
    (formats,) = registry.parts("sources.places", "FORMATS")
    return {
        "from": Field(_sources("data"), "where the rows come from"),
        "format": Field(
            Variant(formats), "what a row is; recognised where it is left out", optional=True
        ),
        "licence": LICENCE,
        "private": PRIVATE,
        "hold_out": Field(Either((Ratio(), ROWS)), "rows set aside to measure on", optional=True),
        "eval": Field(
            Reference(("data",)),
            "another data set to measure on, in place of `hold_out`",
            optional=True,
            later=ALL,
        ),
        "limit": Field(ROWS, "use the first rows only", optional=True),
        "rows": Field(
            ROWS, "how many rows there are, where they are not on this machine", optional=True
        ),
        "stream": Field(Flag(), "read while training, never counted", "false", later=("true",)),
        **_wording(),
        **_cleaning(),
    }


def _wording() -> Mapping[str, Field]:
    """How rows are put into words before a model is asked them."""
    return {
        "templates": Field(
            ListOf(Text()),
            "wordings of a row, one for each: `Question: {prompt}`; else prompts as they are",
            optional=True,
        ),
        "hold_out_templates": Field(
            ListOf(Text()), "wordings that are measured and never trained", optional=True
        ),
        "labels": Field(
            ListOf(Text()), "words for the labels 0, 1, ... of `labelled` rows", optional=True
        ),
    }


def _cleaning() -> Mapping[str, Field]:
    """What a row goes through before it is trained, and what is known of its origin."""
    minhash = {"threshold": Field(Ratio(), "rows at least this alike are one", "80%")}
    return {
        "dedup": Field(
            Variant({"none": {}, "exact": {}, "minhash": minhash}),
            "which copies of a row are left out",
            "none",
            later=("exact", "minhash"),
        ),
        "decontaminate": Field(
            ListOf(Reference(("benchmark", "data"))),
            "rows that overlap with these are left out",
            optional=True,
            later=ALL,
        ),
        "personal": Field(Flag(), "rows hold data about people", "false"),
        "scrub": Field(
            ListOf(Symbol(PERSONAL)), "personal data to be masked", optional=True, later=ALL
        ),
        "written_by": Field(
            Text(), "the model that wrote the replies, where one did", optional=True
        ),
    }


def _mix() -> Mapping[str, Field]:
    # seqio: rate = min(scale n, cap), then to the power 1/T. T5 (arXiv 1910.10683 section 3.5.2).
    cap = Field(Count(("rows", "tokens")), "a source counts as at most this many", optional=True)
    strategies = {
        "fixed": {},
        "proportional": {"cap": cap},
        "temperature": {
            "temperature": Field(Number(least=1), "shares are taken to the power 1/T"),
            "cap": cap,
        },
    }
    return {
        "strategy": Field(Variant(strategies), "how shares are made", "fixed"),
        "by": Field(Symbol(("rows", "tokens")), "what is shared", "rows"),
        "repeat_at_most": Field(
            HowLong(("epochs",)), "passes over a source at the most", "4 epochs"
        ),
    }


def _hardware() -> Mapping[str, Field]:
    return {
        "gpu": Field(Text(), "name of the GPU in the catalogue; none means CPU", optional=True),
        "count": Field(Whole(), "how many of them a machine has; of a CPU: processes", "1"),
        "nodes": Field(Whole(), "how many machines", "1"),
        "memory": Field(Measure("bytes"), "memory of one device", optional=True),
        "host_memory": Field(
            Measure("bytes"),
            "memory of one machine beside its GPUs; without it nothing is offloaded there",
            optional=True,
        ),
        "cores": Field(Whole(), "CPU cores", optional=True),
        "disk": Field(Measure("bytes"), "free disk for artifacts and checkpoints", optional=True),
        "price": Field(Measure("dollars/h"), "price of one device per hour", optional=True),
        "launcher": Field(
            Variant(_launchers()),
            "what starts stages there; else chosen by the plan",
            optional=True,
        ),
    }


def _launchers() -> Mapping[str, Mapping[str, Field]]:
    """What starts a stage, with what its scheduler has to be told."""
    return {
        "local": {},
        "torchrun": {},
        "deepspeed": {},
        "slurm": {
            "partition": Field(Text(), "queue of the cluster", optional=True),
            "account": Field(Text(), "who is charged", optional=True),
            "qos": Field(Text(), "quality of service", optional=True),
            "time": Field(Measure("seconds"), "limit of one job", optional=True),
        },
        "kubernetes": {
            "image": Field(Text(), "container image that holds TuneLang"),
            "storage": Field(Text(), "claim of the volume that all pods share"),
            "namespace": Field(Text(), "namespace of the jobs", '"default"'),
            "queue": Field(Text(), "local queue of Kueue", optional=True),
        },
        "skypilot": {
            "cloud": Field(Text(), "where to rent; else the cheapest that has it", optional=True),
            "region": Field(Text(), "region of the cloud", optional=True),
            "spot": Field(Flag(), "interruptible machines", "false"),
            "bucket": Field(Text(), "bucket URL of the store that all jobs share"),
        },
    }


def _budget() -> Mapping[str, Field]:
    return {
        "cost": Field(Measure("dollars"), "the most the recipe may cost", optional=True),
        "time": Field(Measure("seconds"), "the longest it may take", optional=True),
    }


def _benchmark() -> Mapping[str, Field]:
    lm_eval = {
        "task": Field(Text(), "name of the task in lm-evaluation-harness"),
        "shots": Field(Whole(least=0), "examples before the question", "0"),
        "version": Field(Text(), "version of the task", optional=True),
    }
    return {"from": Field(Variant({"lm_eval": lm_eval}), "who measures it")}


def _publish() -> Mapping[str, Field]:
    hub = {
        "id": Field(Text(), "owner/name"),
        "private": Field(Flag(), "only its owner can see it", "false"),
        "tag": Field(Text(), "name of this version", optional=True),
    }
    places = {"hf": hub, "folder": {"path": Field(Text(), "a folder, relative to the recipe")}}
    return {
        "model": Field(Reference(("stage",)), "what is published"),
        "to": Field(Variant(places), "where to"),
        "licence": Field(Text(), "the licence of the release", optional=True),
        "card": Field(Flag(), "write a model card", "true"),
    }


def _sweep() -> Mapping[str, Field]:
    modes = {
        "grid": {},
        "list": {},
        "random": {"points": Field(Whole(), "how many points are drawn")},
    }
    by = {"metric": Field(MetricOf(), "what the points are compared by")}
    return {
        "mode": Field(Variant(modes), "how the axes are combined", "grid"),
        "pick": Field(Variant({"max": by, "min": by}), "which point is kept", optional=True),
        "budget": Field(Measure("dollars"), "the most all points may cost", optional=True),
        "seed": Field(Whole(least=0), "seed of random points", "0"),
    }


BY_KIND: Mapping[str, Callable[[], Mapping[str, Field]]] = {
    "model": _model,
    "data": _data,
    "mix": _mix,
    "hardware": _hardware,
    "budget": _budget,
    "benchmark": _benchmark,
    "publish": _publish,
    "sweep": _sweep,
}
