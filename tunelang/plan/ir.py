"""The plan: frozen, complete, deterministic JSON. The one thing that crosses to a worker process.

`Step.key` is its content address: a hash over what changes the result. Place, layout, name and
comments are outside the key and recorded as provenance.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tunelang.estimate.predicted import Estimate as Estimate
from tunelang.recipe.schema import Product
from tunelang.sources.parts import LOCAL as LOCAL
from tunelang.sources.parts import DataFormat as DataFormat
from tunelang.sources.parts import DataPart as DataPart
from tunelang.sources.parts import FilesSource as FilesSource
from tunelang.sources.parts import Frozen as Frozen
from tunelang.sources.parts import HoldOut as HoldOut
from tunelang.sources.parts import HubSource as HubSource
from tunelang.sources.parts import InlineSource as InlineSource
from tunelang.sources.parts import StoreSource as StoreSource

# --- models ---------------------------------------------------------------------------------


class StoreModel(Frozen):
    """What an earlier step made: `objects/KEY/` of the store, described by its product.json."""

    kind: Literal["store"] = "store"
    key: str


class HubModel(Frozen):
    kind: Literal["hub"] = "hub"
    id: str
    revision: str
    trust_code: bool = False


class FolderModel(Frozen):
    """A folder in Hugging Face layout on this machine; `fingerprint` hashes its files."""

    kind: Literal["folder"] = "folder"
    path: str
    fingerprint: str


ModelRef = Annotated[StoreModel | HubModel | FolderModel, Field(discriminator="kind")]


class GgufModel(Frozen):
    """A GGUF file to be converted once to safetensors (step method `import_model`)."""

    kind: Literal["gguf"] = "gguf"
    path: str
    fingerprint: str


class AdapterModel(Frozen):
    """An adapter folder in PEFT's layout; the step's input `base` is what it lies over."""

    kind: Literal["adapter"] = "adapter"
    path: str
    fingerprint: str


class ScratchModel(Frozen):
    """Random weights of an architecture, for teaching and tests (step method `import_model`).

    `tokenizer_text` are the local files a byte-level BPE tokenizer is trained on. `experts` and
    `active` are of mixtures.
    """

    kind: Literal["scratch"] = "scratch"
    architecture: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int
    positions: int
    experts: int | None = None
    active: int | None = None
    seed: int
    tokenizer_text: list[str]
    fingerprint: str


ModelSource = Annotated[GgufModel | ScratchModel | AdapterModel, Field(discriminator="kind")]

# --- data -----------------------------------------------------------------------------------


class Mixture(Frozen):
    """The data of a stage: one part, or several in shares of rows or tokens.

    `cap` counts what `by` does, `repeat_at_most` epochs. `held_out` are tasks that are measured
    and never trained.
    """

    parts: list[DataPart]
    strategy: Literal["fixed", "proportional", "temperature"] = "fixed"
    temperature: float = 1.0
    cap: int | None = None
    repeat_at_most: float | None = None
    by: Literal["rows", "tokens"] = "rows"
    held_out: list[DataPart] = Field(default_factory=list)


# --- how it trains and where ------------------------------------------------------------------


class Weights(Frozen):
    """What trains. `fields` belong to the kind: rank, alpha, targets, dropout, ..."""

    kind: str
    fields: dict[str, Any]


class Schedule(Frozen):
    """Everything counted in optimizer steps (for ppo: iterations of one rollout batch each)."""

    steps: int
    warmup: int
    kind: Literal["cosine", "linear", "constant", "slanted_triangular"]
    floor: float
    eval_every: int
    save_every: int


class Batch(Frozen):
    """`size` sequences (pairs, episodes) an update. `micro` and `accumulate` are placement."""

    size: int
    noun: str


Sharding = Literal["none", "ddp", "zero1", "zero2", "zero3", "fsdp2"]
Offload = Literal["none", "optimizer", "all"]


class Submit(Frozen):
    """The scheduler of a cluster that starts the step, with the options the recipe gives it."""

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)


class Place(Frozen):
    """Where and how a step runs: outside the key, recorded as provenance.

    `processes` compute side by side, each on other rows, over `nodes` machines; `gpus` are those of
    all nodes (0: a CPU). micro x accumulate x processes is the batch. `loss` says whether all
    logits of a micro-batch are held at once. `reasons` are the choices made, each with its why.
    """

    device: Literal["cpu", "cuda"]
    gpu: str | None
    gpus: int
    processes: int = 1
    nodes: int = 1
    threads: int
    micro: int
    accumulate: int
    checkpointing: bool
    loss: Literal["plain", "chunked"] = "chunked"
    sharding: Sharding
    offload: Offload = "none"
    launcher: Literal["local", "torchrun", "deepspeed"]
    submit: Submit | None = None
    reasons: list[str] = Field(default_factory=list)


class Measure(Frozen):
    """One metric to take when the step ends: `perplexity(replay.hold_out)`.

    `text` is the metric as the recipe writes it and the name under which it is reported.
    """

    text: str
    metric: str
    data: DataPart | None = None


class Gate(Frozen):
    """A measure compared with a bound; a gate that is not enforced only reports."""

    measure: Measure
    compare: str  # one of < <= > >= == !=
    bound: float
    enforce: bool
    place: str  # path:line of the check, for messages


class Step(Frozen):
    """One thing that runs, in one worker process.

    `inputs` by role: model, or policy, reference, reward, value. `fields` are the method's
    own resolved values as plain JSON (numbers in base units), all of which are in the key.
    `product` is the artifact type made. `general` is text that forgetting is measured on, which is
    the last part of `data` too where the step replays it. `later` is what the recipe
    asks for that no worker can do yet: a step with any is planned and never started.
    """

    version: Literal[1] = 1
    name: str
    method: str
    method_version: int
    worker: str  # the module whose run(step, job) does it
    key: str
    product: Product
    seed: int
    precision: Literal["fp32", "bf16", "fp8"]
    inputs: dict[str, ModelRef] = Field(default_factory=dict)
    import_from: ModelSource | None = None
    data: Mixture | None = None
    weights: Weights | None = None
    length: int | None = None
    lr: float | None = None
    schedule: Schedule | None = None
    batch: Batch | None = None
    fields: dict[str, Any] = Field(default_factory=dict)
    gates: list[Gate] = Field(default_factory=list)
    general: DataPart | None = None
    pretraining: DataPart | None = None  # texts that ppo mixes into its updates
    stack: dict[str, str] = Field(default_factory=dict)
    place: Place
    estimate: Estimate | None = None
    later: list[str] = Field(default_factory=list)
    after: list[str] = Field(default_factory=list)  # names of the steps this one needs


class Budget(Frozen):
    """What the whole recipe may take at most; None where it sets no limit."""

    dollars: float | None = None
    seconds: float | None = None


class Plan(Frozen):
    """Steps in an order in which each comes after what it needs."""

    version: Literal[1] = 1
    recipe: str
    profile: str | None
    steps: list[Step]
    budget: Budget = Budget()
