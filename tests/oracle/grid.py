"""Every case that is measured, and what the closed form is asked for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.oracle.cases import Case
from tests.oracle.models import CONFIGS
from tunelang.estimate.config import from_config
from tunelang.estimate.load import Load
from tunelang.estimate.memory import Memory
from tunelang.estimate.roles import Roles, step_memory

DENSE = ("llama_1b", "llama_8b", "qwen2_05b", "qwen3_2b", "gemma3_1b")
MIXTURES = ("mixtral", "qwen3_moe", "deepseek_v2")
POLICIES = ("ppo", "grpo", "rloo")
ATTENTION = ("q_proj", "v_proj")


def cases() -> list[Case]:
    """In order, each once."""
    found = [*supervised(), *capped(), *mixtures(), *comparisons(), *rewards(), *policies()]
    return list(dict.fromkeys(found))


def supervised() -> Iterator[Case]:
    """Next-token losses of dense models: what trains, in what precision, recomputed or not."""
    for model in DENSE:
        for recompute in (False, True):
            plain = Case(model, rows=2, checkpointing=recompute)
            yield plain
            yield replace(plain, masters=False)
            yield replace(plain, precision="fp32")
            yield replace(plain, accumulate=2)
            yield replace(plain, weights="lora")
            yield replace(plain, weights="lora", targets=ATTENTION, rank=8)
            yield replace(plain, weights="lora", precision="fp32")
            yield replace(plain, weights="qlora", rank=64)
    for model in ("llama_1b", "qwen2_05b"):
        plain = Case(model, rows=4, length=1024)
        yield replace(plain, loss="plain")
        yield replace(plain, loss="plain", weights="lora", checkpointing=True)
        yield replace(plain, weights="layers", layers=2)
        yield replace(plain, weights="layers", layers=1, checkpointing=True)
        yield replace(plain, weights="head")
        yield replace(plain, weights="ia3", checkpointing=True)
        yield replace(plain, weights="lora", dora=True)
        yield replace(plain, weights="lora", prompt=512)
        yield replace(plain, rows=1, length=256)


def capped() -> Iterator[Case]:
    """Gemma 2: scores and logits are capped, so no kernel is fused and no logits come in pieces."""
    for recompute in (False, True):
        plain = Case("gemma2_2b", rows=2, length=1024, checkpointing=recompute)
        yield replace(plain, weights="lora")
        yield replace(plain, masters=False)


def mixtures() -> Iterator[Case]:
    """Adapters, chosen experts and whole mixtures in bf16."""
    for model in MIXTURES:
        for recompute in (False, True):
            plain = Case(model, rows=2, checkpointing=recompute)
            yield replace(plain, weights="experts", chosen=2)
            yield replace(plain, weights="lora")
            yield replace(plain, weights="lora", targets=("q_proj", "o_proj"))
            yield replace(plain, masters=False)


def comparisons() -> Iterator[Case]:
    """DPO on pairs, with each of its references."""
    for model in ("llama_1b", "qwen2_05b", "llama_8b"):
        plain = Case(model, "dpo", rows=2, length=1024, prompt=256)
        yield replace(plain, reference="own", checkpointing=True)
        yield replace(plain, weights="lora", reference="adapter_off")
        yield replace(plain, weights="lora", reference="computed", checkpointing=True)
        yield replace(plain, weights="qlora", reference="adapter_off", rows=1)
        yield replace(plain, weights="lora", reference="own", rows=4, checkpointing=True)


def rewards() -> Iterator[Case]:
    """Reward models on pairs."""
    for model in ("llama_1b", "qwen3_2b", "gemma3_1b"):
        plain = Case(model, "reward", rows=2, length=1024)
        yield plain
        yield replace(plain, checkpointing=True)
        yield replace(plain, weights="lora")
        yield replace(plain, weights="lora", checkpointing=True, rows=4)


def policies() -> Iterator[Case]:
    """Iterations of ppo, grpo and rloo: sampling, scoring and updates."""
    short = {"rows": 2, "length": 512, "prompt": 128, "sampled": 8}
    for model in ("llama_1b", "qwen2_05b"):
        ppo = Case(model, "ppo", **short)
        own = replace(ppo, reference="own", critic="own", judge="own")
        beside = replace(ppo, weights="lora", reference="adapter_off", critic="adapter")
        yield own
        yield replace(own, checkpointing=True, accumulate=2)
        yield replace(beside, judge="adapter")
        yield replace(beside, judge="own", checkpointing=True)
        yield replace(beside, weights="qlora", judge="adapter", rows=4)
        group = replace(beside, method="grpo", critic="none", judge="function")
        yield group
        yield replace(group, method="rloo", checkpointing=True, rows=4)
        yield replace(own, method="grpo", critic="none", judge="function", checkpointing=True)


def asked(case: Case) -> Memory:
    """The closed form for a case."""
    return step_memory(load_of(case), roles_of(case))


def load_of(case: Case) -> Load:
    shape = from_config(CONFIGS[case.model], case.model)
    assert shape
    owns = case.weights in ("full", "layers", "head")
    experts = shape.experts.count if shape.experts else 1
    return Load(
        shape,
        case.weights,
        case.sequences * case.length,
        length=case.length,
        rank=case.rank if case.weights in ("lora", "qlora") else 0,
        targets=case.targets if isinstance(case.targets, tuple) else "all_linear",
        dora=case.dora,
        last=case.layers,
        checkpointing=case.checkpointing,
        accumulates=case.accumulate > 1,
        width=4 if case.precision == "fp32" else 2,
        masters=owns and case.masters and case.precision == "bf16",
        loss="plain" if case.loss == "plain" else "chunked",
        scored=0.0 if case.method == "reward" else case.scored / (case.sequences * case.length),
        share=case.chosen / experts,
    )


def roles_of(case: Case) -> Roles:
    who = {"reference": case.reference, "critic": case.critic, "judge": case.judge}
    if case.method in POLICIES:
        reply = case.length - case.prompt
        return Roles("policy", 1, case.prompt, reply, case.sampled, **who)  # type: ignore[arg-type]
    if case.method == "dpo":
        return Roles("comparisons", 2, reference=case.reference)  # type: ignore[arg-type]
    return Roles("reward", 2) if case.method == "reward" else Roles()
