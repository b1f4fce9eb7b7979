"""Published measurements as the planner's own inputs: rows of tests/data/*_calibration.csv.

Rows of models other than `CALIBRATION` are a blind test. After their errors were seen two facts of
theirs were put right, and no constant: PowerLM-3B ties its embeddings, and experts of Mixtral were
linear layers until transformers 5.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from tunelang.catalog import gpus, stacks
from tunelang.catalog.stacks import Stack
from tunelang.estimate.architecture import Architecture, Experts
from tunelang.estimate.layout import Layout
from tunelang.estimate.load import Load, Sharding
from tunelang.estimate.machine import Machine
from tunelang.estimate.parameters import count
from tunelang.estimate.work import Work

DATA = Path(__file__).parents[1] / "tests" / "data"
GIB = 2**30
CALIBRATION = ("Mistral-7B", "Llama-3-8B")  # all other models are the blind test
QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")
CARDS = {"a100_80gb": "A100-80GB", "a100_40gb": "A100-40GB", "h100_80gb": "H100-80GB"}
FAMILIES = {"Mistral-7B": "mistral", "Mixtral-8x7B": "mixtral", "PowerLM-3B": "granite"}

Row = Mapping[str, str]


@cache
def rows(name: str) -> tuple[Row, ...]:
    """The rows of a file."""
    with (DATA / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def blind(row: Row) -> bool:
    return row["model"] not in CALIBRATION


def architecture(row: Row) -> Architecture:
    """From a row's own numbers; embeddings are tied where that is nearer to its parameters.

    They are in MPT, whose rows count learned positions of up to 65,536 tokens, too.
    """
    loose = untied(row)
    if not loose.gated:
        return replace(loose, tied=True)
    stated = float(row["params_b"]) * 1e9
    tied = replace(loose, tied=True)
    return tied if abs(count(tied) - stated) < abs(count(loose) - stated) else loose


def untied(row: Row) -> Architecture:
    """MPT is the one whose feed-forwards are not gated."""
    name = row["model"]
    plain = name.startswith("MPT")
    heads = int(row["heads"])
    mixture = Experts(8, 2, int(row["ffn"]), int(row["layers"])) if "Mixtral" in name else None
    return Architecture(
        name=name,
        hidden=int(row["hidden"]),
        layers=int(row["layers"]),
        heads=heads,
        kv_heads=int(row["kv_heads"]),
        head_dim=int(row["hidden"]) // heads,
        ffn=int(row["ffn"]),
        vocab=int(row["vocab"]),
        positions=int(row["seq_len"]),
        tied=False,
        family=FAMILIES.get(name, "llama"),
        layout="starcoder2" if plain else "llama",
        norm="layer" if plain else "rms",
        gated=not plain,
        activation="gelu" if plain else "silu",
        experts=mixture,
    )


def tokens_per_second(row: Row) -> float | None:
    """Of one GPU, as published."""
    found = re.match(r"([\d.]+) tok/s/GPU", row["tokens_per_s_or_mfu"])
    return float(found[1]) if found else None


def reserved(row: Row) -> float | None:
    """Bytes that nvidia-smi showed."""
    found = re.search(r"nvidia-smi reserved MiB=([\d.]+)", row["unit_note"])
    return float(found[1]) * 2**20 if found else None


def sharding(row: Row) -> Sharding:
    """FSDP moves what FSDP2 moves, and as SHARD_GRAD_OP what ZeRO-2 does."""
    if row["gpus"] == "1":
        return "none"
    return "zero2" if "GRAD_OP" in row["parallelism"] else "fsdp2"


def layout(row: Row) -> Layout:
    devices = int(row["gpus"])
    pieces = re.search(r"grad_accum=(\d+)", row["remarks"])
    return Layout(
        micro=int(row["micro_batch"]),
        accumulate=int(pieces[1]) if pieces else 1,
        devices=devices,
        nodes=max(1, devices // 8),
        sharding=sharding(row),
        checkpointing=row["grad_ckpt"] == "yes",
        loss="fused" if row["loss_impl"] == "liger" else "plain",
    )


def work(row: Row) -> Work:
    laid = layout(row)
    return Work(
        architecture=architecture(row),
        method="sft",
        weights=row["method"].split()[0],
        rank=int(row["lora_rank"] or 0),
        targets=QKVO,
        batch=laid.micro * laid.accumulate * laid.devices,
        length=int(row["seq_len"]),
        mean_length=int(row["seq_len"]),
        precision="bf16",
        steps=1,
        masters="amp" in row["precision"] and row["stack"] == "mosaic",
    )


def machine(row: Row) -> Machine:
    gpu = gpus.find(CARDS.get(row["gpu"], row["gpu"]))
    assert gpu
    count = min(8, int(row["gpus"]))
    nodes = max(1, int(row["gpus"]) // 8)
    return Machine("gpu", gpu, count, gpu.memory, gpu.usable, 1, None, gpu.bf16, nodes)


def stack(row: Row) -> Stack:
    """The record of the versions that a row ran on, with what its other conditions change."""
    version = "4.48" if row["source"].endswith("a100_80gb.csv") else "4.45"
    kernels = "" if row["loss_impl"] == "hf4" else "-foak"
    found = stacks.find(f"fms-{version}{kernels}")
    amp = "amp" in row["precision"]
    # trl/trainer/sft_trainer.py: k-bit preparation is left out where 4-bit weights are sharded.
    prepared = row["stack"] == "hf4_kbitprep" and row["gpus"] == "1"
    return replace(
        found,
        upcast=prepared,
        # Under autocast the copy that an adapter keeps is bf16 (2), with the mask of dropout (1).
        adapter_input=3 if amp else found.adapter_input,
        # modeling_mistral.py up to 4.47, MistralFlashAttention2.forward: repeat_kv.
        kv_repeated=version == "4.45" and architecture(row).family in ("mistral", "mixtral"),
    )


def load(row: Row) -> Load:
    """A row of memory as one micro-batch on one device."""
    return Load(
        architecture=architecture(row),
        weights=row["method"],
        tokens=int(row["micro_batch"]) * int(row["seq_len"]),
        rank=int(row["lora_rank"] or 0),
        targets=QKVO,
        checkpointing=row["grad_ckpt"] == "yes",
        # accelerate/accelerator.py: with mixed precision FSDP holds what trains in fp32.
        masters=row["method"] == "full" and "amp" in row["precision"] and row["gpus"] != "1",
        loss="fused" if row["loss_impl"] == "liger" else "plain",
        sharding=sharding(row),
        devices=int(row["gpus"]),
        stack=stack(row),
    )
