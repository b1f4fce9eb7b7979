"""`all_linear` on mixtures: every linear layer and every expert, and never the router."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from workshop import LORA

from tunelang.train import targets, trainable

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
SOME = {"num_experts": 4, "num_experts_per_tok": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**SOME, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {**SOME, "moe_intermediate_size": 16, "head_dim": 8},
    "olmoe": SOME,
}
DEEPSEEK = {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": None,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "head_dim": 8,
}


def made(kind: str, more: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SHAPE, **more}))
    model.set_experts_implementation("eager")
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([[3, 9, 27, 4, 11]])).logits
    return found


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_layer_and_expert_learns_and_no_router(kind: str, tmp_path: Path) -> None:
    """Nothing is left bare; the adapter that is read again is the same to the bit, merged to 1e-5.

    Seen to fail for qwen2_moe with PEFT's own list of all linear layers: its experts are not in it.
    """
    base = made(kind, FAMILIES[kind])
    model = get_peft_model(copy.deepcopy(base), trainable.lora(LORA, base), adapter_name="default")
    trainable.train_only(model, ["default"])
    names = {name for name, value in model.named_parameters() if value.requires_grad}
    assert not targets.unreached(model)
    assert any("experts" in name for name in names) == (kind != "llama")
    assert not [name for name in names if targets.ROUTERS & set(name.split("."))]
    for value in trainable.adapter_parameters(model, "default"):
        value.data = torch.randn_like(value) * 0.1
    live = logits(model.eval())
    trainable.save_adapter(model, "default", tmp_path)
    again = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path)).eval()
    assert torch.equal(logits(again), live)
    assert float((logits(again.merge_and_unload()) - live).abs().max()) < 1e-5
    assert float((live - logits(base)).abs().max()) > 1e-2


def test_what_peft_passes_by_is_known() -> None:
    """PEFT 0.21 loses DeepSeek's dense and shared layers: the run says which stayed bare."""
    base = made("deepseek_v2", DEEPSEEK)
    model = get_peft_model(base, trainable.lora(LORA, base))
    assert {"mlp.gate_proj", "mlp.up_proj", "shared_experts.gate_proj"} <= set(
        targets.unreached(model)
    )
