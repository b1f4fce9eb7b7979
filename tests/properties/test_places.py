"""Whatever the hardware and the recipe, the batch is what the recipe says, or the plan refuses.

A batch that follows the machine is the commonest silent change in fine-tuning: the same recipe
trains other updates on other hardware. Here recipes and machines are drawn at random.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunelang.diagnostic import Severity
from tunelang.estimate import able
from tunelang.estimate.fit import fit
from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import Architecture
from tunelang.estimate.ways import impossible, layouts
from tunelang.estimate.work import Work
from tunelang.plan import findings
from tunelang.plan.ir import Plan
from tunelang.recipe.overrides import Settings
from tunelang.rules.pages import CHECKOUT
from tunelang.source import Source

GROUND = (CHECKOUT / "ground.tune").read_text()
TINY = Architecture("tiny", 64, 2, 4, 4, 16, 128, 512, 256, tied=False)
GPUS = ("RTX 4090", "A100-80GB", "H100-80GB")
METHODS = ("sft", "dpo", "ppo", "grpo", "reward_modeling", "kto", "few_shot", "esft")
SHARDINGS = ("auto", "auto", "auto", "ddp", "zero1", "zero2", "zero3", "fsdp2")

# A third of the batches are any number, the others such as people write.
SIZES = st.one_of(st.integers(1, 600), st.sampled_from([8, 16, 32, 64, 96, 128, 256]), st.just(192))
# With one of these the plan is refused: a batch that cannot be made up, a way that cannot be done.
REFUSALS = {"TL604", "TL714"}

hardware = st.builds(
    lambda gpu, count, nodes, host, launcher: (
        "hardware box { "
        + ", ".join(filter(None, [gpu, f"count = {count}", f"nodes = {nodes}", host, launcher]))
        + " }"
    ),
    st.sampled_from(["", *(f'gpu = "{name}"' for name in GPUS)]),
    st.sampled_from([1, 2, 2, 3, 4, 8, 8]),
    st.sampled_from([1, 1, 1, 2, 4]),
    st.sampled_from(["", "host_memory = 512GB"]),
    st.sampled_from(["", "", "launcher = torchrun", "launcher = deepspeed", "launcher = slurm"]),
)
shared = st.builds(
    lambda micro, sharding, offload, checkpointing, weights: [
        *([f"micro = {micro} NOUN"] if micro else []),
        f"parallel {{ sharding = {sharding}, offload = {offload} }}",
        f"checkpointing = {checkpointing}",
        f"weights = {weights}",
    ],
    st.sampled_from([0, 0, 1, 2, 3, 4, 8]),
    st.sampled_from(SHARDINGS),
    st.sampled_from(["auto", "auto", "auto", "none", "optimizer", "all"]),
    st.sampled_from(["auto", "always", "never"]),
    st.sampled_from(["full", "lora(rank = 8)", "qlora(rank = 8)"]),
)
supervised = st.builds(
    lambda batch, unit: (
        'model = small\n  data = talks\n  template = "chatml"\n  length = 512 tokens\n'
        f"  batch = {batch * (512 if unit == 'tokens' else 1)} {unit}",
        "instruction_tuning",
        "sequences",
    ),
    SIZES,
    st.sampled_from(["sequences", "tokens"]),
)
compared = st.builds(
    lambda method, batch: (
        f"model = small\n  data = pairs\n  batch = {batch} pairs",
        method,
        "pairs",
    ),
    st.sampled_from(["reward_modeling", "dpo", "orpo"]),
    SIZES,
)
policies = st.builds(
    lambda batch, minibatches: (
        "policy = small\n  reward = length(target = 100 tokens)\n  prompts = asks\n"
        f"  train = 4 steps\n  rollout {{ batch = {batch}, minibatches = {minibatches} }}",
        "ppo",
        "episodes",
    ),
    SIZES,
    st.integers(1, 12),
)
groups = st.builds(
    lambda prompts, group: (
        "policy = small\n  reward = length(target = 100 tokens)\n  prompts = asks\n"
        f"  train = 4 steps\n  rollout {{ batch = {prompts * group}, group = {group} }}",
        "grpo",
        "episodes",
    ),
    st.integers(1, 60),
    st.integers(2, 9),
)


def planned(box: str, stage: tuple[str, str, str], fields: list[str]) -> findings.Findings:
    """The plan of one stage on drawn hardware, and what was found."""
    inside, method, noun = stage
    more = "\n  ".join(fields).replace("NOUN", noun)
    text = f"{GROUND}{box}\nstage one: {method} {{\n  {inside}\n  {more}\n  on = box\n}}\n"
    return findings.of_source(Source("r.tune", text), Path(), Settings())


def whole(plan: Plan | None) -> bool:
    """Every update is made up of micro-batches on all processes, none left over."""
    assert plan
    return all(
        step.place.micro * step.place.accumulate * step.place.processes == step.batch.size
        for step in plan.steps
        if step.batch
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(hardware, st.one_of(supervised, compared, policies, groups), shared)
def test_the_batch_is_kept_or_the_plan_refuses(
    box: str, stage: tuple[str, str, str], fields: list[str]
) -> None:
    """micro x accumulate x processes is the batch of the recipe, or an error says why not.

    A step that needs too much memory (TL701) keeps its batch, too.
    """
    found = planned(box, stage, fields)
    refused = {each.code for each in found.found if each.severity is Severity.ERROR} & REFUSALS
    assert refused or whole(found.plan), found.found


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(METHODS),
    st.sampled_from(["full", "lora", "qlora", "experts"]),
    st.integers(1, 700),
    st.integers(1, 9),
    st.integers(1, 5),
    st.sampled_from([None, 1, 2, 3, 8]),
    st.integers(1, 7),
)
def test_every_layout_keeps_the_batch(
    method: str,
    weights: str,
    batch: int,
    count: int,
    nodes: int,
    micro: int | None,
    minibatches: int,
) -> None:
    """All that are tried do; and where none is, the batch or the recipe's micro says why."""
    reply = 16 if method in ("ppo", "grpo") else 0
    work = Work(
        TINY, method, weights, 4, "all_linear", batch, 64, 64, "bf16", 10,
        prompt=reply, reply=reply, micro=micro, minibatches=minibatches,
    )  # fmt: skip
    card = Machine("gpu", None, count, 2**34, 2**34, 1, None, bf16=True, nodes=nodes)
    every = list(layouts(work, card))
    devices = card.devices if able.shardings(method, weights) else 1
    assert all(one.micro * one.accumulate * one.devices == batch for one in every)
    assert {one.devices for one in every} <= {devices}
    assert {one.micro for one in every} <= {micro} or micro is None
    assert impossible(work, card) == ""
    assert bool(every) == (batch % (devices * (micro or 1)) == 0)


def test_nothing_is_fitted_where_the_batch_cannot_be_shared() -> None:
    """Seven rows on two devices: no layout at all, not one with another batch."""
    work = Work(TINY, "sft", "full", 0, "all_linear", 7, 64, 64, "bf16", 10)
    card = Machine("gpu", None, 2, 2**34, 2**34, 1, None, bf16=True)
    assert fit(work, card) is None
