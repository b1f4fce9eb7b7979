"""A model and its tokenizer -> one GGUF file, by the `gguf` package's writer.

Names and layout are those of llama.cpp's convert_hf_to_gguf.py, so that llama.cpp and transformers
read it: the rows of llama's query and key matrices are reordered for its interleaved rotation.
Families whose arithmetic the format's names hold whole: llama, mistral, qwen2, qwen3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter, LlamaFileType, RopeScalingType, TokenType
from torch import Tensor

from tunelang.sources.gguf_positions import llama3_factors
from tunelang.train.job import fail

# model_type -> the architecture's name in GGUF. Mistral without a sliding window is a llama.
FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
TYPES = {
    "f32": (Kind.F32, LlamaFileType.ALL_F32),
    "f16": (Kind.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (Kind.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (Kind.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
# Ways to stretch positions that the format holds, and the settings that go with each.
PLAIN = ("rope_type", "rope_theta")
LLAMA3_SETTINGS = ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
SETTINGS = {
    "default": PLAIN,
    "linear": (*PLAIN, "factor"),
    "llama3": (*PLAIN, "factor", *LLAMA3_SETTINGS),
    "yarn": (*PLAIN, "factor", "original_max_position_embeddings"),
}
# Settings that may stand there as llama.cpp has them anyway: the bounds of YaRN's paper
# (arXiv 2309.00071), and bounds in whole frequencies.
FIXED = {"beta_fast": 32, "beta_slow": 1, "truncate": True}
BLOCK = 32  # weights that share a scale in q8_0: rows of another length stay in f16
# How text is parted before merging, and what llama.cpp calls that (convert_hf_to_gguf.py).
LLAMA3 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
)
QWEN2 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
PATTERNS = {LLAMA3: "llama-bpe", QWEN2: "qwen2"}


def write(path: Path, model: Any, tokenizer: Any, kind: str, name: str) -> None:
    """Write the file of a model that is `ready`."""
    config = model.config
    family = FAMILIES[config.model_type]
    writer = GGUFWriter(path, family)
    writer.add_name(name)
    writer.add_file_type(TYPES[kind][1])
    shape(writer, config)
    words(writer, tokenizer, model.get_input_embeddings().weight.shape[0])
    for label, values in tensors(model, family, kind):
        writer.add_tensor(label, *values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def problem(config: Any, tokenizer: Any) -> str:
    """Why a model cannot be written as GGUF, or the empty string."""
    if config.model_type not in FAMILIES:
        return f"`{config.model_type}` models are not among {', '.join(sorted(FAMILIES))}"
    rope = rope_of(config)
    way = rope.get("rope_type", "default")
    if way not in SETTINGS or (way != "default" and not rope.get("factor")):
        return f"its positions are stretched ({way})"
    given = {name for name, value in rope.items() if value not in (None, FIXED.get(name))}
    own = sorted(given - {*SETTINGS[way]})
    if way != "default" and own:
        return f"its positions are stretched ({way} with {own[0]})"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "its attention has a sliding window"
    if any(getattr(config, name, False) for name in ("attention_bias", "mlp_bias")):
        return "its layers have biases"
    return "" if splitting(tokenizer) else "its tokenizer is no byte-level BPE that GGUF names"


def rope_of(config: Any) -> dict[str, Any]:
    """The rotary settings."""
    found: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    return found


# --- the model ---------------------------------------------------------------------------------


def shape(writer: GGUFWriter, config: Any) -> None:
    """The widths and counts of the header."""
    heads = config.num_attention_heads
    width = width_of(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    positions(writer, rope_of(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def width_of(config: Any) -> int:
    """Elements of a head."""
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def positions(writer: GGUFWriter, rope: dict[str, Any]) -> None:
    """The base, and keys of linear and yarn; llama3's factors are a tensor."""
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    way = rope.get("rope_type")
    if way not in ("linear", "yarn"):
        return
    writer.add_rope_scaling_type(RopeScalingType(way))
    writer.add_rope_scaling_factor(float(rope["factor"]))
    if way == "yarn":
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))


def stretched(rope: dict[str, Any], width: int) -> Any:
    """The factors of `llama3` [width / 2] as the file holds them."""
    return np.array(llama3_factors(rope, width), dtype=np.float32)


def tensors(model: Any, family: str, kind: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every weight as GGUF names and holds it; a tied output layer is not stored."""
    config = model.config
    arch = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}
    names = gguf.get_tensor_name_map(
        arch.get(family, gguf.MODEL_ARCH.QWEN3), config.num_hidden_layers
    )
    if rope_of(config).get("rope_type") == "llama3":
        yield "rope_freqs.weight", (stretched(rope_of(config), width_of(config)),)
    for path, weight in model.state_dict().items():
        if path == "lm_head.weight" and config.tie_word_embeddings:
            continue
        label = names.get_name(path, try_suffixes=(".weight", ".bias"))
        if label is None:
            msg = f"GGUF has no name for {path}"
            raise ValueError(msg)
        yield label, held(turned(path, weight.float(), config, family), kind)


def turned(path: str, weight: Tensor, config: Any, family: str) -> Tensor:
    """llama's q and k [heads * d, H]: halves of a head's rows become neighbours."""
    counts = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    heads = next((n for name, n in counts.items() if f".{name}." in path), None)
    if family != "llama" or heads is None:
        return weight
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def held(weight: Tensor, kind: str) -> tuple[Any, ...]:
    """(values,) or (bytes, shape, type): norms and biases stay f32, as llama.cpp wants them."""
    values = weight.detach().cpu().numpy().astype(np.float32)
    wanted = TYPES[kind][0]
    if weight.dim() == 1:
        return (values,)
    if wanted is Kind.Q8_0 and weight.shape[-1] % BLOCK:
        wanted = Kind.F16
    made = gguf.quants.quantize(values, wanted)
    return (made, None, wanted)


# --- the tokenizer -----------------------------------------------------------------------------


def splitting(tokenizer: Any) -> str:
    """What llama.cpp calls the way text is parted; empty for a way it has no name for."""
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    steps = said["pre_tokenizer"] or {}
    steps = steps.get("pretokenizers", [steps])
    if said["model"]["type"] != "BPE" or steps[-1].get("type") != "ByteLevel":
        return ""
    before = steps[:-1]
    if not before:
        return "gpt-2" if steps[-1].get("use_regex", True) else ""
    if [step["type"] for step in before] == ["Digits"] and before[0]["individual_digits"]:
        return "smollm"
    pattern = before[0].get("pattern", {}).get("Regex", "") if len(before) == 1 else ""
    return next((name for start, name in PATTERNS.items() if pattern.startswith(start)), "")


def words(writer: GGUFWriter, tokenizer: Any, rows: int) -> None:
    """Vocabulary, merges, special tokens and chat template; `rows` without a token are unused."""
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {each["id"]: each for each in said["added_tokens"]}
    vocabulary = {number: text for text, number in said["model"]["vocab"].items()}
    vocabulary |= {number: each["content"] for number, each in added.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting(tokenizer))
    writer.add_token_list([vocabulary.get(number, f"[PAD{number}]") for number in range(rows)])
    writer.add_token_types([token_type(number, vocabulary, added) for number in range(rows)])
    merges = said["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    special(writer, tokenizer)


def token_type(number: int, vocabulary: dict[int, str], added: dict[int, Any]) -> int:
    """Normal, added by hand, a control token, or a row that no token has."""
    if number in added:
        return int(TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED)
    return int(TokenType.NORMAL if number in vocabulary else TokenType.UNUSED)


def special(writer: GGUFWriter, tokenizer: Any) -> None:
    """Which tokens begin, end and pad, whether text begins with one, and the chat template."""
    for name, number in (
        ("bos", tokenizer.bos_token_id),
        ("eos", tokenizer.eos_token_id),
        ("pad", tokenizer.pad_token_id),
    ):
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    first = tokenizer("a")["input_ids"][:1]
    writer.add_add_bos_token(first == [tokenizer.bos_token_id])
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def ready(model: Any, tokenizer: Any) -> None:
    """Raises UserError TL714 where the model cannot be written."""
    why = problem(model.config, tokenizer)
    if why:
        fail(
            "TL714",
            "backend-cannot",
            f"this model cannot be written as GGUF: {why}",
            "use format = safetensors, and llama.cpp's convert_hf_to_gguf.py on that folder",
        )
