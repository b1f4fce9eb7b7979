"""How a GGUF file stretches rotary positions, as a Hugging Face config's `rope_parameters` say it.

`linear` and `yarn` are keys of the header (llama.cpp, src/llama-model.cpp: load_hparams). Llama 3.1
has a tensor, `rope_freqs.weight`: what each frequency is divided by. Its scaling's settings are
found again from those numbers. transformers' reader passes over both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunelang.sources import gguf

FACTORS = "rope_freqs.weight"
LONGROPE = ("rope_factors_long", "rope_factors_short")
BASE = 10_000.0  # llama.cpp's where the file names none
# Families that stretch all layers alike; what the keys mean for others is in their own code.
PLAIN = ("llama", "mistral", "qwen2", "qwen2moe", "qwen3", "qwen3moe")
OWN = ("gpt-oss",)  # transformers reads these keys itself
# Keys that change what is computed, and the value at which they change nothing. YaRN's bounds are
# the paper's (Peng et al. 2023, arXiv 2309.00071): llama.cpp computes with them in these families
# whatever their keys say.
NEUTRAL = {
    "alpha": 0.0,
    "attn_factor": 1.0,
    "yarn_attn_factor": 1.0,
    "yarn_beta_fast": 32.0,
    "yarn_beta_slow": 1.0,
    "yarn_ext_factor": 1.0,
    "yarn_log_multiplier": 0.0,
}
# low_freq_factor and high_freq_factor of every model that Meta released with this scaling, from 3.1
# on (their config.json). Only ratios of both to the old context count.
LOW, HIGH = 1.0, 4.0
CLOSE = 1e-5  # relative: llama.cpp's converter computes the numbers in f32


def rope_parameters(path: Path) -> dict[str, Any]:
    """`rope_type`, `rope_theta` and settings; empty where positions are not stretched.

    Raises ValueError, which says what would be lost, for a way that has no such settings.
    """
    values, tensors = gguf.header(path)
    kind = str(values.get("general.architecture", ""))
    if kind in OWN:
        return {}
    if any(name.startswith(LONGROPE) for name in tensors):
        raise lost("by longrope")
    found = by_keys(scaling(values, kind), values, kind)
    factors = gguf.numbers(path, tensors[FACTORS]) if FACTORS in tensors else []
    factors = [] if all(factor == 1.0 for factor in factors) else factors
    if (found or factors) and kind not in PLAIN:
        raise lost(f"in a way that is not read of `{kind}` files")
    if found and factors:
        raise lost("twice, by its header and by factors")
    found = by_factors(factors, values, kind) if factors else found
    return found and {**found, "rope_theta": float(values.get(f"{kind}.rope.freq_base", BASE))}


def scaling(values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The keys under `rope.scaling`; the factor under the name that it had at first, too."""
    start = f"{kind}.rope.scaling."
    keys = {key.removeprefix(start): said for key, said in values.items() if key.startswith(start)}
    if f"{kind}.rope.scale_linear" in values:
        keys.setdefault("factor", values[f"{kind}.rope.scale_linear"])
    return keys


def by_keys(keys: Mapping[str, Any], values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """`linear` or `yarn` with settings; empty where the keys change nothing."""
    way, factor = str(keys.get("type", "linear")), float(keys.get("factor") or 1.0)
    if way == "none" or (way == "linear" and factor == 1.0):
        return {}
    odd = [name for name, value in NEUTRAL.items() if keys.get(name, value) != value]
    if way not in ("linear", "yarn") or odd:
        raise lost(f"by {way}" + (f" with `{odd[0]}` {keys[odd[0]]:g}" if odd else ""))
    if way == "linear":
        return {"rope_type": way, "factor": factor}
    context = keys.get("original_context_length") or values.get(f"{kind}.context_length")
    if not context:
        raise lost("by yarn from a context that its header lacks")
    return {"rope_type": way, "factor": factor, "original_max_position_embeddings": int(context)}


def by_factors(factors: list[float], values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Llama 3.1's settings that give these numbers, from powers of two as the old context."""
    theta = float(values.get(f"{kind}.rope.freq_base", BASE))
    most = float(f"{max(factors):.6g}")
    for power in range(int(values.get(f"{kind}.context_length", 0)).bit_length()):
        rope = {
            "rope_type": "llama3",
            "factor": most,
            "low_freq_factor": LOW,
            "high_freq_factor": HIGH,
            "original_max_position_embeddings": 2**power,
        }
        wanted = llama3_factors({**rope, "rope_theta": theta}, 2 * len(factors))
        pairs = zip(factors, wanted, strict=True)
        if all(math.isclose(one, other, rel_tol=CLOSE) for one, other in pairs):
            return rope
    most_and_least = f"from {min(factors):g} to {most:g}"
    raise lost(f"by {len(factors)} factors {most_and_least} that are no llama3 scaling's")


def llama3_factors(rope: Mapping[str, Any], width: int) -> list[float]:
    """What each rotary frequency [width / 2] is divided by in Llama 3.1 (its `llama3` scaling).

    Waves shorter than the old context over `high_freq_factor` stay, longer ones than it over
    `low_freq_factor` are stretched by `factor`, those between by a line in 1 / wavelength.
    """
    theta, factor = float(rope["rope_theta"]), float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    context = float(rope["original_max_position_embeddings"])
    turns = [context / (2 * math.pi * theta ** (at / width)) for at in range(0, width, 2)]
    smooth = [min(max((each - low) / (high - low), 0.0), 1.0) for each in turns]
    return [1 / ((1 - each) / factor + each) for each in smooth]


def lost(how: str) -> ValueError:
    return ValueError(f"its positions are stretched {how}, which would be lost")
