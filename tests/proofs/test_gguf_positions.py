"""What the header of a GGUF file says of positions, in files that hold nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workshop import Shop, blank

from tunelang.diagnostic import Diagnostic
from tunelang.errors import UserError
from tunelang.plan import models
from tunelang.plan.ir import GgufModel
from tunelang.source import Source, Span
from tunelang.sources import gguf_positions

LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 500_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 512,
}


def header_of(path: Path, architecture: str, keys: dict[str, Any], **tensors: list[float]) -> None:
    """A GGUF file of a context of 512 with nothing but widths, these keys and tensors."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(512)
    for add in ("embedding_length", "block_count", "feed_forward_length", "head_count"):
        getattr(writer, f"add_{add}")(8)
    writer.add_head_count_kv(8)
    writer.add_vocab_size(400)
    for name, value in keys.items():
        add = writer.add_string if isinstance(value, str) else writer.add_float32
        add(f"{architecture}.rope.{name}", value)
    for name, values in tensors.items():
        writer.add_tensor(f"{name}.weight", np.array(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


LOST: dict[str, tuple[str, dict[str, Any], dict[str, list[float]]]] = {
    "by longrope": ("llama", {}, {"rope_factors_long": [1.0, 2.0]}),
    "by yarn with `yarn_log_multiplier` 0.1": (
        "llama",
        {"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.yarn_log_multiplier": 0.1},
        {},
    ),
    "by yarn with `yarn_beta_slow` 2": (
        "qwen2",
        {"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.yarn_beta_slow": 2.0},
        {},
    ),
    "in a way that is not read of `gemma3` files": ("gemma3", {"scaling.factor": 8.0}, {}),
    "twice": ("llama", {"scaling.factor": 8.0}, {"rope_freqs": [1.0, 8.0]}),
    "by 4 factors from 1 to 9": ("llama", {}, {"rope_freqs": [1.0, 9.0, 3.0, 2.0]}),
}


@pytest.mark.parametrize("how", LOST)
def test_what_would_be_lost_is_refused(shop: Shop, tmp_path: Path, how: str) -> None:
    """TL732 in a worker, and the same words before the run, as the header tells all.

    Seen to fail with all factors taken for a llama3 scaling of the largest.
    """
    architecture, keys, tensors = LOST[how]
    path = tmp_path / "odd.gguf"
    header_of(path, architecture, keys, **tensors)
    wanted = GgufModel(path=str(path), fingerprint="file")
    with pytest.raises(UserError) as told:
        shop.run(blank("import_model", "odd", import_from=wanted))
    assert told.value.diagnostic.code == "TL732"
    assert how in told.value.diagnostic.message
    assert "which would be lost" in told.value.diagnostic.message
    early: list[Diagnostic] = []
    assert models._file(path, Span(Source("recipe.tune", str(path)), 0, 1), early) is None
    assert [each.message for each in early] == [told.value.diagnostic.message]
    assert early[0].code == "TL322"


@pytest.mark.parametrize(
    ("keys", "rope"),
    [
        ({"scaling.type": "none", "scaling.factor": 4.0}, {}),
        ({"scaling.type": "linear", "scaling.factor": 1.0}, {}),
        ({"scale_linear": 4.0}, {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}),
        ({"scaling.factor": 2.0, "freq_base": 5e5}, {**LINEAR, "factor": 2.0, "rope_theta": 5e5}),
        (
            {"scaling.type": "yarn", "scaling.factor": 4.0, "freq_base": 5e5},
            YARN,
        ),
    ],
)
def test_keys_mean_what_llama_cpp_takes_them_for(
    tmp_path: Path, keys: dict[str, Any], rope: dict[str, Any]
) -> None:
    """Its load_hparams: linear unless a type is named, no factor is 1, the first name of the key,
    base 10,000, yarn from the context where no other is named; factors of 1 are none."""
    header_of(tmp_path / "some.gguf", "llama", keys, rope_freqs=[1.0] * 4)
    assert gguf_positions.rope_parameters(tmp_path / "some.gguf") == rope
