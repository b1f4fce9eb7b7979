"""An architecture with random weights and a tokenizer of its own, the same for the same seed.

For teaching and tests: a model of 100,000 weights shows every part of a recipe in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from tunelang.estimate import scratch
from tunelang.plan.ir import ScratchModel
from tunelang.sources.places.scratch import DENSE, MIXTURES
from tunelang.train.job import fail
from tunelang.train.templates import CHATML

SIZES = (
    "hidden",
    "layers",
    "heads",
    "kv_heads",
    "ffn",
    "experts",
    "active",
    "vocabulary",
    "positions",
)
SPECIAL = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def tokenizer(wanted: ScratchModel) -> Any:
    """Byte-level BPE trained on the text files; it can write any text, and ends turns itself."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=wanted.vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(lines(wanted.tokenizer_text), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
        model_max_length=wanted.positions,
    )


def lines(paths: list[str]) -> Iterator[str]:
    """The lines of the files, in order."""
    for path in paths:
        try:
            with Path(path).open(encoding="utf-8") as file:
                yield from file
        except (OSError, UnicodeDecodeError) as unreadable:
            fail("TL730", "missing-weights", f"`{path}` cannot be read as text: {unreadable}")


def model(wanted: ScratchModel, tokenizer: Any) -> Any:
    """A model of the wanted shape, tied embeddings, initialised from the seed."""
    if wanted.architecture not in (*DENSE, *MIXTURES):
        fail(
            "TL734",
            "unknown-architecture",
            f"`{wanted.architecture}` cannot be made from scratch",
            f"architectures: {', '.join((*DENSE, *MIXTURES))}",
        )
    named = scratch.config(wanted.architecture, wanted.model_dump(include=set(SIZES)))
    settings = AutoConfig.for_model(
        named.pop("model_type"),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # At least the tokenizer's size: a small text may not give as many merges as asked for.
        **{**named, "vocab_size": max(wanted.vocabulary, len(tokenizer))},
    )
    torch.manual_seed(wanted.seed)
    made = AutoModelForCausalLM.from_config(settings)
    sharpen(made)
    return made


def sharpen(model: Any) -> None:
    """Routers whose logits have a standard deviation near 1, so that experts differ in what they
    are asked; as initialised, all would be asked nearly alike."""
    for name, weight in model.named_parameters():
        if name.endswith(".mlp.gate.weight"):
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
