"""LoRA computes what its paper says, and turning it off gives exactly the start."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from workshop import LORA, Shop, instructions, part, training

from tunelang.errors import UserError
from tunelang.plan.ir import Weights
from tunelang.train import forward, trainable
from tunelang.train.forward import Row

ROWS = [Row(list(range(5, 29)), list(range(5, 29))), Row(list(range(40, 52)), list(range(40, 52)))]


def loss_of(model: Any) -> torch.Tensor:
    logits, targets = forward.supervised_logits(model, forward.collate(ROWS, 0, "cpu"))
    return torch.nn.functional.cross_entropy(logits, targets)


def test_gradients_are_those_of_full_tuning_projected(shop: Shop) -> None:
    """dB = s G A^T and dA = s B^T G, G the full gradient at the merged weight, in fp64."""
    model = shop.load().model.double()
    settings = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(copy.deepcopy(model), settings, autocast_adapter_dtype=False)
    merged = copy.deepcopy(tuned).merge_and_unload()
    merged.requires_grad_(True)
    loss_of(tuned).backward()
    loss_of(merged).backward()
    layers = dict(merged.named_modules())
    checked = 0
    for name, module in tuned.base_model.model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        full = layers[name].weight.grad
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        assert float((b.grad - 2 * full @ a.T).abs().max()) < 1e-12
        assert float((a.grad - 2 * b.T @ full).abs().max()) < 1e-12
        checked += 1
    assert checked == 14  # 7 linear layers in each of 2 blocks


def test_a_full_rank_adapter_is_full_tuning() -> None:
    """P04: with rank = width, A = 1 and s = 1, ten SGD steps on B are ten steps on W, in fp64.

    Seen to fail with the scale alpha / rank taken for 1 / rank.
    """
    torch.manual_seed(0)
    width, rows = 6, torch.randn(32, 6, dtype=torch.float64)
    wanted = torch.randn(32, 6, dtype=torch.float64)
    full = torch.nn.Sequential(torch.nn.Linear(width, width, bias=False, dtype=torch.float64))
    settings = LoraConfig(r=width, lora_alpha=width, target_modules=["0"])
    tuned = get_peft_model(copy.deepcopy(full), settings, autocast_adapter_dtype=False).double()
    layer = tuned.base_model.model[0]
    layer.lora_A["default"].weight.data = torch.eye(width, dtype=torch.float64)
    layer.lora_A["default"].weight.requires_grad_(False)
    for model, weights in ((full, full.parameters()), (tuned, [layer.lora_B["default"].weight])):
        steps = torch.optim.SGD(weights, lr=0.1)
        for _ in range(10):
            steps.zero_grad()
            (model(rows) - wanted).square().mean().backward()
            steps.step()
    difference = (tuned.merge_and_unload()[0].weight - full[0].weight).abs().max()
    assert float(difference.detach()) < 1e-12


@pytest.mark.parametrize("kind", [{"rslora": True}, {"dora": True}])
def test_scaled_and_directional_adapters_start_as_nothing_and_merge(
    shop: Shop, kind: dict[str, bool]
) -> None:
    """rsLoRA multiplies by alpha / sqrt(rank); DoRA's rows keep the length it learnt.

    h = m (W + s B A) x / |W + s B A| (arXiv 2402.09353 eq. 5), written here a second time. Seen to
    fail with the scale alpha / rank for rsLoRA, and with DoRA switched off.
    """
    start = shop.load()
    expected = loss_of(shop.load().model)
    ready = trainable.make_trainable(start, Weights(kind="lora", fields={**LORA, **kind}))
    assert float((loss_of(ready.model) - expected).abs().detach()) < 1e-6
    found = dict(ready.model.named_parameters())
    for name, value in trainable.parameters(ready).items():
        value.data = value.data + 0.1 * torch.randn_like(value.data)
        assert found[name] is value
    layer = next(m for n, m in ready.model.named_modules() if n.endswith("layers.0.mlp.up_proj"))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    scale = 8 / 4**0.5 if "rslora" in kind else 8 / 4
    whole = layer.base_layer.weight + scale * b @ a
    if "dora" in kind:
        length = layer.lora_magnitude_vector["default"].weight
        whole = length[:, None] * whole / whole.norm(dim=1, keepdim=True)
    x = torch.randn(3, 64)
    assert float((layer(x) - x @ whole.T).abs().max().detach()) < 1e-4


def trained(shop: Shop, precision: str = "fp32") -> tuple[Any, trainable.Trained]:
    start = shop.load(precision=precision)
    return start, trainable.make_trainable(start, Weights(kind="lora", fields=LORA))


def test_adapters_are_fp32_over_bf16_weights(shop: Shop) -> None:
    """Masters of what trains are fp32; the frozen base keeps the step's precision."""
    _start, made = trained(shop, "bf16")
    found = trainable.parameters(made)
    frozen = [value for name, value in made.model.named_parameters() if name not in found]
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert {value.dtype for value in frozen} == {torch.bfloat16}


def test_off_is_the_start_bit_for_bit_and_leaves_what_trains(shop: Shop) -> None:
    """Inside `using(start)` the model is the stage's start; requires_grad is as before."""
    expected = loss_of(shop.load().model)
    _start, made = trained(shop)
    for parameter in trainable.adapter_parameters(made.model, "default"):
        parameter.data.normal_()
    names = set(trainable.parameters(made))
    with trainable.using(made.model, made.start):
        assert torch.equal(loss_of(made.model), expected)
        assert set(trainable.parameters(made)) == names
    assert set(trainable.parameters(made)) == names
    assert not torch.equal(loss_of(made.model), expected)


def test_all_linear_reaches_every_block_and_not_the_output_layer(shop: Shop) -> None:
    """14 layers get A and B; embeddings and output layer get nothing."""
    _start, made = trained(shop)
    names = trainable.parameters(made)
    assert len(names) == 28
    assert not [name for name in names if "lm_head" in name or "embed" in name]


def test_a_second_adapter_does_not_wake_the_first(shop: Shop) -> None:
    """PEFT would let both train; requires_grad is set by name here."""
    _start, made = trained(shop)
    trainable.add_adapter(made.model, "value", Weights(kind="lora", fields=LORA))
    trainable.train_only(made.model, ["default"])
    assert all(".default." in name for name in trainable.parameters(made))


def test_merging_a_delta_equals_running_it(shop: Shop) -> None:
    """A start with deltas is W + s B A in fp32: within 1e-5 of the adapter at work."""
    step = training("sft", "delta", part("instruct", instructions()))
    shop.run(step)
    merged = loss_of(shop.load("delta").model)
    live = trainable.load_adapter(
        shop.load().model, shop.store.object("delta") / "adapter", "delta"
    )
    assert float((merged - loss_of(live)).abs()) < 1e-5
    assert float((merged - loss_of(shop.load().model)).abs()) > 1e-3


def test_merged_weights_are_rounded_once(shop: Shop) -> None:
    """bf16 starts are the fp32 merge rounded, and rotary frequencies stay fp32."""
    shop.run(training("sft", "first", part("instruct", instructions())))
    whole, rounded = shop.load("first").model, shop.load("first", precision="bf16").model
    pairs = zip(whole.parameters(), rounded.parameters(), strict=True)
    assert all(torch.equal(one.bfloat16(), other) for one, other in pairs)
    assert rounded.model.rotary_emb.inv_freq.dtype == torch.float32


def test_a_target_that_is_not_there_is_told(shop: Shop) -> None:
    """TL518 names the layers there are."""
    start = shop.load()
    wanted = Weights(kind="lora", fields={**LORA, "targets": ["query_proj"]})
    with pytest.raises(UserError) as told:
        trainable.make_trainable(start, wanted)
    assert told.value.diagnostic.code == "TL518"
    assert "q_proj" in told.value.diagnostic.help


def test_adapters_over_bf16_weights_run_without_autocast_too(shop: Shop) -> None:
    """A forward pass outside autocast (a caller's oversight) is close to one inside, no crash."""
    _start, made = trained(shop, "bf16")
    ids = torch.tensor([ROWS[0].ids])
    with torch.no_grad():
        outside = forward.hidden_states(made.model, ids)
        with forward.autocast("bf16", "cpu"):
            inside = forward.hidden_states(made.model, ids)
    assert float((outside.float() - inside.float()).abs().max()) < 0.1
